"""Stimuli with two right answers: does a model see both readings, and does it reconstruct each of them?

The denoising error is the squared distance from a stimulus to its reconstruction under a prompt. So "the stimulus is
reconstructed under a reading and not under a control" (Jaini et al. 2024, section 3.4) is a difference of errors, paired
within a stimulus, and is measured here as the **gain** of a reading: how much nearer to the stimulus its reconstruction lies than under
control prompts, in percent of their error. A gain above 0 means that the reading helps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gencls import categories as cats
from gencls import figures, metrics, trials
from gencls.analyses import bias, decisions
from gencls.analyses.bias import Seen
from gencls.errors import GenclsError
from gencls.likelihood.weightings import Weighting, probabilities, weighted
from gencls.metrics import Estimate
from gencls.metrics.estimates import mean
from gencls.models import zoo
from gencls.stimuli.illusions import NAME
from gencls.stimuli.pictures import read_pictures
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import PROMPTS, Scored, World

READINGS = ("first", "second")
#: What the readings of each kind are.
MEANING = {
    "outline": ("the shape of the line", "the texture inside"),
    "vase": ("what is cut out", "what it is cut out of"),
    "hybrid": ("the low frequencies", "the high frequencies"),
    "turned": ("what was turned", "what it then looks like"),
}
#: The condition of a user's own pictures.
OWN = "your pictures"
AGAINST = ("mean", "best")
#: For `Page.say`, whose fields stand in braces, so that a brace is written twice.
NOT_GIVEN = (
    "No pictures were given. `gencls run illusions -p world=full -y '{{pictures: [duck.png], readings: [a duck, a rabbit], "
    'controls: [a cat, a boat], prompt: "{{}}", models: [hf:stabilityai/stable-diffusion-2-1]}}\'` runs this page on yours.'
)
ROLES = {"first reading": "#0072B2", "second reading": "#D55E00", "control": "#B8B8B8", "noise level shown": "#009E73"}


def look(
    world: World,
    models: Sequence[str] | None = None,
    *,
    n: int | None = None,
    check: int = 0,
    seed: int = 0,
    pictures: Sequence[str] | None = None,
    readings: Sequence[str] = (),
    controls: Sequence[str] = (),
    prompt: str = cats.PROMPT,
) -> Seen:
    """What models make of the world's illusions (`n` a kind), or of your own `pictures` with two `readings` and `controls`.

    Own pictures are files or folders; what stands in the prompt's `{}` is a reading or a control. Raises GenclsError for
    other than two readings, fewer than two controls, and a model that you name and that cannot be asked.
    """
    if pictures:
        return _own(world, models, pictures, readings, controls, prompt, seed)
    if NAME not in world.sets:
        table = pd.DataFrame(columns=["name", "category", "condition", "texture"])
        return Seen(world, StimulusSet(NAME, table, lambda i: np.zeros((1, 1, 3)), world.categories), missing=NOT_GIVEN)
    return bias.look(world, NAME, models, seeds=True, n=n, check=check, seed=seed)


def _own(
    world: World,
    models: Sequence[str] | None,
    paths: Sequence[str],
    readings: Sequence[str],
    controls: Sequence[str],
    prompt: str,
    seed: int,
) -> Seen:
    import gencls

    if len(readings) != 2 or len(controls) < 2 or len({*readings, *controls}) != 2 + len(controls):
        raise GenclsError(
            f"own pictures: {len(readings)} readings and {len(controls)} controls; give two readings and at least two "
            "controls, all different"
        )
    found = read_pictures(paths)
    table = pd.DataFrame({"name": [p.name for p in found], "condition": OWN})
    table = table.assign(category=readings[0], texture=readings[1])
    stimuli = StimulusSet("pictures", table, lambda i: found[i].image, [*readings, *controls])
    seen = Seen(world, stimuli)
    for model in world.models if models is None else models:
        try:
            made = gencls.load(model, **zoo.shown()).classify(found, [*readings, *controls], prompt=prompt, seed=seed)
            columns = {c: ("stimulus", table[c].to_numpy(str)) for c in ("category", "condition", "texture")}
            seen.scored[model] = Scored(made.scores.assign_coords(columns), "computed", len(found))
        except GenclsError as error:
            if models is not None:
                raise
            seen.lacking[model] = str(error)
    return seen


def gains(scores: xr.Dataset, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """One row a stimulus and reading: `kind, reading, mean, best`, in percent.

    `mean`: how far the reading's weighted error lies below the mean of the controls' (all classes but the two readings);
    `best`: below the least of them; both in percent of that mean. The second is the stricter: only a reading that beats
    every control is above 0.
    """
    values = weighted(scores, by).values
    classes = [str(c) for c in scores["class"].values]
    rows = []
    for i, (kind, *pair) in enumerate(
        zip(*(scores[c].values.tolist() for c in ("condition", "category", "texture")), strict=True)
    ):
        controls = np.array([v for c, v in zip(classes, values[i], strict=True) if c not in pair])
        unit = abs(controls.mean()) / 100
        for reading, name in zip(READINGS, pair, strict=True):
            value = values[i, classes.index(name)]
            rows.append((i, kind, reading, (controls.mean() - value) / unit, (controls.min() - value) / unit))
    return pd.DataFrame(rows, columns=["stimulus", "kind", "reading", "mean", "best"])


def differences(scores: xr.Dataset, by: str | Weighting = "exp(-7t)", against: str = "mean") -> dict[tuple, Estimate]:
    """(kind, reading) → mean gain against the controls' `mean` or the `best` of them, with its interval over stimuli."""
    if against not in AGAINST:
        raise GenclsError(f"gains are against {' or '.join(AGAINST)} control, not {against!r}")
    groups = gains(scores, by).groupby(["kind", "reading"], sort=False)[against]
    return {(str(kind), str(reading)): mean(part.to_numpy(), "stimuli") for (kind, reading), part in groups}


def by_level(seen: Seen, model: str, against: str = "mean") -> pd.DataFrame:
    """Gains where one noise level alone is looked at: `observer (the reading), kind, t, log_snr, value, low, high, n`."""
    scores = seen.scored[model].scores
    rows = []
    for i, (t, log_snr) in enumerate(zip(scores["t"].values, scores["log_snr"].values, strict=True)):
        found = differences(scores.isel(t=[i]), "uniform", against)
        rows.append(figures.points(found, ["kind", "observer"], t=float(t), log_snr=float(log_snr)))
    frame = pd.concat(rows, ignore_index=True)
    return frame.assign(observer=frame["observer"] + " reading")


def by_prompt(seen: Seen, model: str, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Gains under every prompt on record: `kind, reading, prompt, origin, value, low, high, n`; those not on record are left out."""
    rows = []
    for prompt in (cats.PROMPT, *PROMPTS):
        try:
            usual = seen.scored[model]
            scored = usual if prompt == cats.PROMPT else seen.world.scores(seen.stimuli, model, prompt=prompt)
        except GenclsError:
            continue
        found = differences(scored.scores, by)
        rows.append(figures.points(found, ["kind", "reading"], prompt=prompt, origin=scored.origin))
    return pd.concat(rows, ignore_index=True)


def reworded(worded: pd.DataFrame) -> str:
    """Which gains of `by_prompt` change their side of 0 for sure under another wording than the first, in a sentence."""
    said = []
    for (kind, reading), part in worded.groupby(["kind", "reading"], sort=False):
        first, *others = part.to_dict("records")
        for row in others:
            if first["high"] < 0 < row["low"] or row["high"] < 0 < first["low"]:
                ends = " against ".join(f"{r['value']:+.1f} [{r['low']:.1f}, {r['high']:.1f}]" for r in (row, first))
                said.append(f"{kind}, {reading} reading: {ends} under {cats.wording(row['prompt'])}")
    if not said:
        return "No gain is for sure above 0 under one wording and below under another."
    return f"Not all gains are alike; these change sides: {'; '.join(said)}."


def shares(seen: Seen, model: str, by: str | Weighting = "exp(-7t)") -> dict[tuple[str, str], Estimate]:
    """(kind, what) → share of stimuli where the `first`, the `second` reading beats every control, or where `both` do.

    By chance each is 1/15 in 16 classes; both, 1/120.
    """
    table = gains(seen.scored[model].scores, by)
    found = {}
    for kind, part in table.groupby("kind", sort=False):
        wins = {r: (part[part["reading"] == r]["best"] > 0).to_numpy() for r in READINGS}
        wins["both"] = wins["first"] & wins["second"]
        for what, won in wins.items():
            some = seen.stimuli[part[part["reading"] == "first"]["stimulus"].to_numpy()]
            said = np.where(won, some.table["category"], "na").tolist()
            found[str(kind), what] = metrics.accuracy(trials.from_answers(model, some, said))
    return found


def probability(seen: Seen, model: str) -> dict[tuple[str, str], Estimate]:
    """(kind, reading) → mean share of probability on each reading, and on `both`; for a classifier, 1/16 and 1/8 by chance."""
    scores = seen.scored[model].scores
    odds = probabilities(scores, zoo.temperature(model) or 1.0)
    classes = [str(c) for c in odds["class"].values]
    columns = [[classes.index(c) for c in scores[name].values.tolist()] for name in ("category", "texture")]
    first, second = (np.take_along_axis(odds.values, np.array(c)[:, None], 1)[:, 0] for c in columns)
    kinds = scores["condition"].values
    return {
        (str(kind), what): mean(values[kinds == kind], "stimuli", unit=True)
        for kind in dict.fromkeys(kinds.tolist())
        for what, values in (("first", first), ("second", second), ("both", first + second))
    }


def over_seeds(seen: Seen, model: str, by: str | Weighting = "exp(-7t)") -> dict[tuple, Estimate]:
    """(kind, reading) → mean gain over a model's training seeds; `low`, `high` the lowest and highest of them, `n` their number."""
    each = [differences(s.scores, by) for m, s in seen.scored.items() if m.partition("@")[0] == model]
    origin = seen.origin(*seeds(seen, model))
    return {key: bias.range_over("training seeds", [float(e[key]) for e in each], origin) for key in each[0]}


def seeds(seen: Seen, model: str) -> list[str]:
    """The training seeds of a model that have scores."""
    return [m for m in seen.scored if m.partition("@")[0] == model]


def generative(seen: Seen) -> list[str]:
    """Models with a likelihood to reconstruct by: all that are no classifiers."""
    return [m for m in seen.models if "log_probability" not in seen.scored[m].scores]


def forest_rows(seen: Seen, by: str | Weighting = "exp(-7t)", against: str = "mean") -> pd.DataFrame:
    """What `figures.forest` draws: the gain of each kind's readings for every generative model and training seed."""
    rows = []
    for family in generative(seen):
        for model in seeds(seen, family):
            for (kind, reading), e in differences(seen.scored[model].scores, by, against).items():
                rows.append((f"{kind}: {_meaning(kind, reading)}", model, seen.origin(model), e.value, e.low, e.high))
    frame = pd.DataFrame(rows, columns=["name", "observer", "origin", "value", "low", "high"])
    return frame.sort_values("name", key=lambda n: n.map(list(dict.fromkeys(n)).index), kind="stable")


def _meaning(kind: str, reading: str) -> str:
    return dict(zip(READINGS, MEANING.get(kind, ("first reading", "second reading")), strict=True))[reading]


def verdict(found: Mapping[tuple, Estimate]) -> str:
    """What was seen, kind by kind, as far as the 95% intervals say so: a list in Markdown."""
    lines = []
    for kind in dict.fromkeys(kind for kind, _ in found):
        signs = {r: _sign(found[kind, r]) for r in READINGS}
        seen_ = [_meaning(kind, r) for r in READINGS if signs[r] > 0]
        against = [_meaning(kind, r) for r in READINGS if signs[r] < 0]
        unsure = [_meaning(kind, r) for r in READINGS if signs[r] == 0]
        parts = ["both readings help" if len(seen_) == 2 else f"only {seen_[0]} helps" if seen_ else "no reading helps"]
        parts += [f"{a} does worse than the controls" for a in against]
        parts += [f"{u} does not differ from them as far as the interval tells" for u in unsure]
        lines.append(f"- **{kind}**: {'; '.join(parts)}.")
    return "\n".join(lines)


def _sign(e: Estimate) -> int:
    if math.isnan(e.low):
        return int(np.sign(e.value))
    return 1 if e.low > 0 else -1 if e.high < 0 else 0


def examples(seen: Seen, each: int = 1) -> StimulusSet:
    """The first `each` stimuli of every kind."""
    table = seen.stimuli.table
    rows = [i for kind in seen.stimuli.conditions for i in np.flatnonzero(table["condition"] == kind)[:each]]
    return seen.stimuli[rows] if rows else seen.stimuli


def label(row: Mapping[Any, Any]) -> str:
    """How a list of stimuli names one: `vase: arrow or heart`."""
    return f"{row['condition']}: {row['category']} or {row['texture']}"


def denoised(model: str, chosen: StimulusSet, t: Iterable[float], prompt: str, seed: int) -> decisions.Denoised | None:
    """Reconstructions under every prompt, None where the model's weights are not here or it works on no pixels."""
    if not model or not zoo.is_here(model) or not len(chosen):
        return None
    try:
        return decisions.denoise(model, chosen, list(t), prompt, seed)
    except GenclsError:
        return None


def _shown(made: decisions.Denoised, stimulus: int, level: int) -> list[str]:
    """Both readings and the control that is reconstructed best."""
    row = made.stimuli.table.iloc[stimulus]
    pair = [row["category"], row["texture"]]
    errors = dict(zip(made.classes, made.errors.values[stimulus, :, level].tolist(), strict=True))
    return [*pair, min((c for c in made.classes if c not in pair), key=lambda c: errors[c])]


def picture_rows(made: decisions.Denoised, level: int) -> tuple[list, list[str], list[str], list]:
    """What `figures.reconstructions` takes: a row a stimulus, under both readings and the best control."""
    images, names, errors = [], [], []
    for s, row in enumerate(made.stimuli.table.to_dict("records")):
        columns = [made.classes.index(c) for c in _shown(made, s, level)]
        images.append([made.stimuli[s].image, made.noised[s, level], *(made.estimates[s, level, c] for c in columns)])
        errors.append([None, None, *(float(made.errors.values[s, c, level]) for c in columns)])
        names.append(str(row["condition"]))
    return images, ["stimulus", "noised", "first reading", "second reading", "best control"], names, errors


def explorer_curves(made: decisions.Denoised, levels: Sequence[int]) -> pd.DataFrame:
    """Rows of the explorer: each prompt's error against the mean of all, in percent: `stimulus, level, t, error, class, role`."""
    relative = 100 * (made.errors / made.errors.mean("class") - 1)
    rows = []
    for s, row in enumerate(made.stimuli.table.to_dict("records")):
        role = dict.fromkeys(made.classes, "control")
        role |= {row["category"]: "first reading", row["texture"]: "second reading"}
        part = relative.values[s]
        lines = pd.DataFrame(
            {
                "class": np.repeat(made.classes, len(made.t)),
                "t": np.tile(made.t, len(made.classes)),
                "error": part.ravel(),
            }
        )
        lines = lines.assign(role=lines["class"].map(role))
        lines = lines.sort_values("role", key=lambda r: r != "control", kind="stable")
        for i in levels:
            ends = pd.DataFrame({"class": "noise level", "t": made.t[i], "error": [part.min(), part.max()]})
            both = pd.concat([lines, ends.assign(role="noise level shown")], ignore_index=True)
            rows.append(both.assign(stimulus=label(row), level=made.t[i]))
    return pd.concat(rows, ignore_index=True)


def explorer_pictures(made: decisions.Denoised, levels: Sequence[int]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows and images of the explorer: stimulus, noised, reconstructed under both readings and the best control."""
    rows, images = [], {}
    for s, row in enumerate(made.stimuli.table.to_dict("records")):
        name = label(row)
        images[name] = made.stimuli[s].image
        for i in levels:
            at = f"{name}, t = {made.t[i]:.2f}"
            images[f"{at}, noised"] = made.noised[s, i]
            shown = [(name, "stimulus"), (f"{at}, noised", f"noised, t = {made.t[i]:.2f}")]
            for c, role in zip(_shown(made, s, i), ("first reading", "second reading", "best control"), strict=True):
                k = made.classes.index(c)
                images[f"{at}, {c}"] = made.estimates[s, i, k]
                shown.append((f"{at}, {c}", f"{role}, “{c}”: error {made.errors.values[s, k, i]:.1f}"))
            rows += [{"stimulus": name, "level": made.t[i], "image": k, "caption": text} for k, text in shown]
    return pd.DataFrame(rows), images


def distinct(chosen: StimulusSet) -> StimulusSet:
    """The stimuli without those that a list would name alike."""
    names = [label(row) for row in chosen.table.to_dict("records")]
    return chosen[[i for i, name in enumerate(names) if name not in names[:i]]]


def report_name(kind: str, reading: str, what: str) -> str:
    """The name of a page's number: `gain, vase, first reading`."""
    return f"{what}, {kind}, {reading + ' reading' if reading in READINGS else reading}"
