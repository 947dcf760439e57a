"""One decision in pictures: stimuli noised, reconstructed under each prompt, and the errors that come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from gencls import categories as cats
from gencls import metrics, trials
from gencls.analyses.bias import Seen
from gencls.errors import GenclsError
from gencls.likelihood.plans import quadrature
from gencls.likelihood.weightings import answers, probabilities, weighted
from gencls.models import zoo
from gencls.results import Page
from gencls.stimuli.sets import Stimulus, StimulusSet
from gencls.worlds import World, joint

__all__ = ["Denoised", "answers", "calibration", "denoise", "generative", "label", "roles", "scores", "weighted"]


#: What a class is to a stimulus, where it is nothing in particular.
OTHER = "another class"
#: Colours of an explorer's curves by what a class is to the stimulus.
COLOURS = {
    "right answer": "#0072B2",
    "the shape's class": "#0072B2",
    "the texture's class": "#D55E00",
    OTHER: "#B8B8B8",
    "noise level shown": "#009E73",
}
#: Where the pictures of a world come from.
CREDIT = {
    "shapes": "Stimuli drawn by code.",
    "natural": "Stimuli: Geirhos et al. 2019, github.com/rgeirhos/texture-vs-shape, CC BY 4.0, reduced to 64×64.",
    "full": "Stimuli: Geirhos et al. 2019, github.com/rgeirhos/texture-vs-shape, CC BY 4.0, unchanged.",
}
NOT_HERE = (
    "The stimuli of this world are not on this machine: set `GENCLS_MIRROR` to a folder that has them, or run "
    "`gencls data fetch`."
)
NO_MODEL = (
    "No generative model of this world is on this machine, so the steps below are told without pictures; the same page "
    "of the shapes world shows them."
)


def generative(world: World) -> str:
    """The world's first diffusion model whose weights are here; empty if there is none."""
    from gencls.models import zoo

    here = (m for m in world.models if (folder := zoo.folder_of(m)) and (folder / "model_index.json").is_file())
    return next(here, "")


@dataclass(frozen=True)
class Denoised:
    """Stimuli noised at several t and reconstructed under every class's prompt.

    `noised`: stimulus × t × H × W × 3, `estimates`: stimulus × t × class × H × W × 3, both uint8, clipped for display.
    `errors`: stimulus × class × timestep, from the unclipped numbers, with the coordinates `t` and `log_snr`.
    """

    stimuli: StimulusSet
    noised: np.ndarray
    estimates: np.ndarray
    errors: xr.DataArray

    @property
    def t(self) -> list[float]:
        """The noise levels."""
        return [float(t) for t in self.errors["t"].values]

    @property
    def classes(self) -> list[str]:
        """Whose prompts were given."""
        return [str(c) for c in self.errors["class"].values]


def denoise(model: str, stimuli: StimulusSet, t: Sequence[float], prompt: str = cats.PROMPT, seed: int = 0) -> Denoised:
    """Noise each stimulus at each t, with the noise that scoring uses, and reconstruct it under each class's prompt.

    `errors` are therefore the very numbers that `gencls.likelihood.scoring.score` puts on record. Raises GenclsError
    for a model that has nothing to reconstruct with, or that works on latents, which are no pictures.
    """
    import torch

    import gencls
    from gencls.models.diffusion import DiffusionModel
    from gencls.models.noise import noise

    network = gencls.load(model).model
    if not isinstance(network, DiffusionModel):
        raise GenclsError(f"{model} is no diffusion model and reconstructs nothing; name one")
    x0 = network.encode([s.image for s in stimuli])
    if x0.shape[1] != 3:
        raise GenclsError(f"{model} works on latents, which are no pictures; name a model in pixel space")
    classes = list(stimuli.categories)
    conditions = network.conditions(cats.prompts(classes, prompt))
    rows = torch.arange(len(classes)).expand(len(x0), -1)
    timestep, alpha, sigma = network.levels(t)
    shape, device = tuple(x0.shape[1:]), x0.device
    noised, estimates = [], []
    for i, level in enumerate(t):
        draws = torch.stack([noise(seed, s, float(timestep[i]), 0, shape) for s in stimuli.table["name"]])
        draws = draws.to(device)
        at = torch.full((len(x0),), float(level), dtype=torch.float64)
        noised.append((alpha[i].to(device) * x0 + sigma[i].to(device) * draws).cpu())
        estimates.append(network.reconstruct(x0, draws, at, rows, conditions).cpu())
    made = torch.stack(estimates, 1)
    errors = (made - x0.cpu()[:, None, None]).double().square().flatten(3).sum(-1).float()
    return Denoised(
        stimuli,
        _pixels(torch.stack(noised, 1).numpy()),
        _pixels(made.numpy()),
        xr.DataArray(
            errors.numpy().transpose(0, 2, 1),
            dims=("stimulus", "class", "timestep"),
            coords={
                "stimulus": stimuli.table["name"].to_numpy(str),
                "class": np.array(classes, str),
                "t": ("timestep", np.asarray(t, float)),
                "log_snr": ("timestep", (2 * (alpha.double() / sigma.double()).log()).numpy()),
            },
        ),
    )


def _pixels(values: np.ndarray) -> np.ndarray:
    """… × 3 × H × W in [−1, 1] → … × H × W × 3 uint8."""
    return np.rint(np.clip((np.moveaxis(values, -3, -1) + 1) * 127.5, 0, 255)).astype(np.uint8)


def roles(category: str, texture: str, classes: Sequence[str]) -> dict[str, str]:
    """Class → what it is to a stimulus: its shape, its texture, or another class."""
    own = "right answer" if not texture else "the shape's class"
    return {c: own if c == category else "the texture's class" if c == texture else OTHER for c in classes}


def shown(denoised: Denoised, stimulus: int, t: int) -> list[str]:
    """The classes worth a picture: the shape's, the texture's and the one with the least error at this t."""
    row = denoised.stimuli.table.iloc[stimulus]
    best = denoised.classes[int(denoised.errors.values[stimulus, :, t].argmin())]
    others = [c for c in denoised.classes if c not in (row["category"], row["texture"])]
    wanted = dict.fromkeys([row["category"], row["texture"] or others[0], best])
    return list(wanted) if len(wanted) == 3 else [*wanted, next(c for c in others if c not in wanted)]


def picture_rows(denoised: Denoised, stimulus: int, levels: Sequence[int]) -> tuple[list, list, list, list]:
    """What `figures.reconstructions` takes for one stimulus: images, column titles, row titles and errors."""
    row = denoised.stimuli.table.iloc[stimulus]
    classes = [row["category"], row["texture"]] if row["texture"] else [row["category"]]
    classes += [c for c in denoised.classes if c not in classes][: 4 - len(classes)]
    columns = [denoised.classes.index(c) for c in classes]
    original = denoised.stimuli[stimulus].image
    images = [
        [original, denoised.noised[stimulus, i], *(denoised.estimates[stimulus, i, c] for c in columns)] for i in levels
    ]
    errors = [[None, None, *(float(denoised.errors.values[stimulus, c, i]) for c in columns)] for i in levels]
    titles = ["stimulus", "noised", *(f"“{c}”" for c in classes)]
    return images, titles, [f"t = {denoised.t[i]:.2f}" for i in levels], errors


def curve_rows(denoised: Denoised, levels: Sequence[int]) -> pd.DataFrame:
    """Rows of an explorer: each class's error against the mean of the classes, in percent, over all noise levels.

    Columns `stimulus, level` (the controls), `t, error, class, role`; the level chosen stands as a series of its own.
    """
    relative = 100 * (denoised.errors / denoised.errors.mean("class") - 1)
    rows = []
    for s, row in enumerate(denoised.stimuli.table.to_dict("records")):
        role = roles(row["category"], row["texture"], denoised.classes)
        part = relative.values[s]
        lines = pd.DataFrame(
            {
                "class": np.repeat(denoised.classes, len(denoised.t)),
                "t": np.tile(denoised.t, len(denoised.classes)),
                "error": part.ravel(),
            }
        )
        lines["role"] = lines["class"].map(role)
        lines = lines.sort_values("role", key=lambda r: r != OTHER, kind="stable")
        for i in levels:
            ends = pd.DataFrame({"class": "noise level", "t": denoised.t[i], "error": [part.min(), part.max()]})
            both = pd.concat([lines, ends.assign(role="noise level shown")], ignore_index=True)
            rows.append(both.assign(stimulus=label(denoised.stimuli[s]), level=denoised.t[i]))
    return pd.concat(rows, ignore_index=True)


def label(stimulus: Stimulus) -> str:
    """How a list of stimuli names one: `tree with the texture of drop`."""
    return f"{stimulus.category} with the texture of {stimulus.texture}" if stimulus.texture else stimulus.category


def scores(denoised: Denoised) -> xr.Dataset:
    """The errors as scores, ready for a weighting."""
    errors = denoised.errors.swap_dims(timestep="t").expand_dims("draw", -1).assign_coords(t=denoised.t)
    return errors.to_dataset(name="error").assign_coords(quadrature=("t", quadrature(np.array(denoised.t))))


def names(page: Page, start: str) -> list[str]:
    """The names of a page's numbers that begin so."""
    return list(dict.fromkeys(number.name for number in page.numbers if number.name.startswith(start)))


def calibration(seen: Seen, model: str) -> metrics.Estimate:
    """The expected calibration error of a model's probabilities under the paper's weighting, at the temperature that training kept.

    The temperature was fitted on photos of the dev split, which are not among those of `seen`.
    """
    scores = seen.scored[model].scores
    odds = probabilities(scores, zoo.temperature(model) or 1.0).values
    right = np.array(answers(scores)) == seen.stimuli.table["category"].to_numpy(str)
    return metrics.expected_calibration_error(odds, right)


def changed(seen: Seen, model: str, dtype: str, by: str = "exp(-7t)") -> metrics.Estimate | None:
    """The share of decisions on the stimuli of `seen` that another number type changes; None where neither a record nor fast
    units for it are here."""
    if model not in seen.scored:
        return None
    try:
        other = seen.world.scores(seen.stimuli, model, dtype=dtype)
    except GenclsError:
        return None
    kept = np.array(answers(seen.scored[model].scores, by)) == np.array(answers(other.scores, by))
    same = trials.from_answers(model, seen.stimuli, np.where(kept, seen.stimuli.table["category"], "na").tolist())
    share = metrics.accuracy(same)
    origin = joint((seen.scored[model].origin, other.origin))
    ends = (1 - share.value, 1 - share.high, 1 - share.low)
    return metrics.Estimate(*ends, share.n, "decisions changed", share.method, origin=origin)


def checked(seen: Seen, model: str) -> str:
    """A sentence on where a model's scores come from."""
    if model not in seen.scored:
        return "Nothing was scored."
    scored = seen.scored[model]
    if scored.origin == "computed":
        return f"All {len(seen.stimuli)} stimuli were scored in this run."
    where = {"record": "on record", "cached": "kept from an earlier run on this machine"}
    return (
        f"The scores are {where.get(scored.origin, 'of more than one origin')}; {scored.checked} of the "
        f"{len(seen.stimuli)} stimuli were scored afresh and agree."
    )


def explorer_pictures(denoised: Denoised, levels: Sequence[int]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows and images of an explorer: the stimulus, noised, and reconstructed under three prompts, at each level."""
    rows, images = [], {}
    for s in range(len(denoised.stimuli)):
        name = label(denoised.stimuli[s])
        images[name] = denoised.stimuli[s].image
        for i in levels:
            at = f"{name}, t = {denoised.t[i]:.2f}"
            images[f"{at}, noised"] = denoised.noised[s, i]
            row = [(name, "stimulus"), (f"{at}, noised", f"noised, t = {denoised.t[i]:.2f}")]
            errors = denoised.errors.values[s, :, i]
            for c in shown(denoised, s, i):
                k = denoised.classes.index(c)
                images[f"{at}, {c}"] = denoised.estimates[s, i, k]
                least = ", the least" if k == errors.argmin() else ""
                row.append((f"{at}, {c}", f"“{c}”: error {errors[k]:.1f}{least}"))
            rows += [{"stimulus": name, "level": denoised.t[i], "image": k, "caption": text} for k, text in row]
    return pd.DataFrame(rows), images


def explorer_text(denoised: Denoised, levels: Sequence[int], answers: Sequence[str], weighting: str) -> pd.DataFrame:
    """A sentence an explorer's setting: who wins at this level, and who won over all of them under the weighting."""
    rows = []
    for s, answer in enumerate(answers):
        for i in levels:
            best = denoised.classes[int(denoised.errors.values[s, :, i].argmin())]
            text = (
                f"At this noise level alone the answer is {best}. Over all levels, under {weighting}, it is {answer}."
            )
            rows.append({"stimulus": label(denoised.stimuli[s]), "level": denoised.t[i], "text": text})
    return pd.DataFrame(rows)
