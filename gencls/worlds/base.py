"""What the worlds share: their scores, from records as far as those go."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gencls import categories as cats
from gencls import downloads, trials
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.weightings import Weighting, answers
from gencls.stimuli import manipulations
from gencls.stimuli.sets import StimulusSet, spread

RECORDS = Path(__file__).resolve().parents[2] / "book" / "records"
#: Where `gencls train` leaves the weights of other training seeds, which do not ship.
WEIGHTS_OF_SEEDS = Path(__file__).resolve().parents[2] / "runs" / "weights"
SEEDS = (0, 1, 2)
#: The plan of the shipped records, where a world has none of its own.
PLAN = Exhaustive(timesteps=16)
#: Further prompts under which the illusions are on record; the first two were among the captions of training.
PROMPTS = ("the {}", "a drawing of a {}", "{}", "an outline of a {}")
#: Noise seeds under which the cue-conflict stimuli are on record for the models that ship.
NOISE_SEEDS = (0, 1, 2)


def record_name(model: str, seed: int = 0, dtype: str = "float32", prompt: str = cats.PROMPT) -> str:
    """The file of a model's record in the folder of its world and set; `seed` is of the noise."""
    other = (f".noise{seed}" if seed else "") + (f".{dtype}" if dtype != "float32" else "")
    if prompt != cats.PROMPT:
        other += ".prompt-" + "-".join(re.findall(r"[a-z]+", prompt.lower()))
    return f"{model.rpartition('/')[2].replace(':', '-')}{other}.zarr.zip"


def weights_of(model: str, elsewhere: Path = WEIGHTS_OF_SEEDS) -> Path:
    """The folder of a model's weights: where models lie that ship, or `elsewhere`, where `gencls train` leaves them; GenclsError where there is none."""
    from gencls.models.weights import places

    for folder in (*places(model), elsewhere / model):
        if folder.exists():
            return folder
    raise GenclsError(f"no weights of {model} are here, nor in {elsewhere}; `gencls train {model}` makes them")


def seeds_of(model: str) -> list[str]:
    """A model and its other training seeds: shapes/pixel, shapes/pixel@1, shapes/pixel@2."""
    return [model if seed == 0 else f"{model}@{seed}" for seed in SEEDS]


@dataclass(frozen=True)
class Scored:
    """Scores and where they come from; `checked`: how many of the stimuli were scored in this run.

    `origin`: "computed" in this run, "cached" by an earlier one on this machine, from a "record" that ships, or "mixed".
    """

    scores: xr.Dataset
    origin: str
    checked: int


def joint(origins: Iterable[str]) -> str:
    """The origin of a number that rests on scores of these origins: the one they share, else "mixed"."""
    known = set(origins)
    return known.pop() if len(known) == 1 else "mixed"


class World:
    """What the worlds share. `models` are the ids of its models; people, where there are any, come from `people`.

    `withheld`: the sets whose pictures no page shows; `noise_seeds`: the noise draws under which cue conflict is scored.
    """

    name: str
    categories: tuple[str, ...]
    sets: tuple[str, ...]
    models: tuple[str, ...]
    controls: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    noise_seeds: tuple[int, ...] = NOISE_SEEDS

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        """A stimulus set of this world by name; `n` of them, spread over the set (of manipulated photos and illusions `n` a condition), or all."""
        raise GenclsError(f"the world {self.name!r} has no stimulus set {name!r}; it has {', '.join(self.sets)}")

    def people(self, name: str) -> dict[str, pd.DataFrame]:
        """Each person's trials on a set; {} where no person saw this world."""
        return {}

    def networks(self, name: str) -> dict[str, pd.DataFrame]:
        """The recorded trials of networks that others tested on a set."""
        return {}

    def plan(self, name: str) -> Exhaustive:
        """The plan of the records of a set."""
        return PLAN

    def scores(
        self,
        stimuli: StimulusSet,
        model: str,
        *,
        plan: Exhaustive | None = None,
        seed: int = 0,
        prompt: str = cats.PROMPT,
        check: int = 0,
        dtype: str = "float32",
    ) -> Scored:
        """Scores from a record as far as it holds these stimuli; those that it lacks are computed, and kept.

        `check`: how many stimuli of a record are scored afresh; GenclsError if they differ from it. `GENCLS_FRESH=1` passes
        over the shipped records of models whose weights are here (`gencls book --fresh` empties the cache first). `dtype`: float32, or bfloat16, whose
        rounding differs between processors, so that its records are neither checked nor made again unasked. What `gencls run --resolution` and `--no-crop` change
        is part of the model's name on a record (`gencls.models.zoo.shown`).
        """
        from gencls.models import zoo

        if check < 0:
            raise GenclsError(f"check is {check}; it is how many stimuli are scored afresh, 0 for none")
        asked = dtype
        if _kind(model) not in ("diffusion", "autoregressive"):
            dtype = "float32"  # a classifier computes in nothing else
        plan = plan or self.plan(stimuli.name)
        title = _title(model, dtype)
        digest = zoo.digest(model)
        bound = records.binding(title, _kind(model), plan, seed, prompt, stimuli.categories, dtype=dtype)
        if digest:
            bound["model_digest"] = digest
        if not len(stimuli):
            raise GenclsError(f"{model} on {stimuli.name}: there is no stimulus to score; give at least one")
        names = list(stimuli.table["name"])
        digests = stimuli.stimulus_digests()
        exact = dtype == "float32"
        fresh = bool(digest) and exact and os.environ.get("GENCLS_FRESH") == "1"
        # A classifier's scores hang on no seed and no prompt, and neither does its file.
        file = record_name(model, int(bound["seed"] or 0), dtype, bound["prompt"] or cats.PROMPT)
        cached = downloads.cache_folder() / "records" / self.name / stimuli.name / f"{records.key(bound)}-{file}"
        shipped = RECORDS / self.name / stimuli.name / file
        # In a fresh build the cache holds what its earlier chapters computed.
        places = [(cached, "computed")] if fresh else [(shipped, "record"), (cached, "cached")]
        parts: list[xr.Dataset] = []
        origins: list[str] = []
        left = list(range(len(stimuli)))
        for path, origin in places:
            if left and path.exists():
                scores = records.read(path)
                rows = records.matching(scores, bound, [names[i] for i in left], [digests[i] for i in left])
                if have := [row for row in rows if row is not None]:
                    parts.append(scores.isel(stimulus=have))
                    origins.append(origin)
                left = [i for i, row in zip(left, rows, strict=True) if row is None]
        if left:
            from gencls.likelihood.scoring import score

            _admit(stimuli, model, digest, dtype, bool(parts))
            opened = _opened(model, dtype)
            if zoo.digest(model) != digest:  # downloaded only now, or a branch of the hub that has moved on
                return self.scores(stimuli, model, plan=plan, seed=seed, prompt=prompt, check=check, dtype=asked)
            made = score(opened, stimuli[left], prompt=prompt, plan=plan, seed=seed, record=cached, model_digest=digest)
            parts.append(made)
            origins.append("computed")
        scores = functools.reduce(records.join, parts)
        scores = scores.isel(stimulus=records.matching(scores, bound, names, digests))
        if fresh:
            return Scored(scores, "computed", len(stimuli))
        known = sorted(set(range(len(stimuli))) - set(left))
        checked = len(left)
        if check and known and digest and exact and not stimuli.missing:
            checked += self._check(scores.isel(stimulus=known), stimuli[known], model, plan, seed, prompt, check)
        return Scored(scores, joint(origins), checked)

    def _check(
        self, old: xr.Dataset, stimuli: StimulusSet, model: str, plan: Exhaustive, seed: int, prompt: str, n: int
    ) -> int:
        from gencls.likelihood.scoring import TOLERANCE, differ, score

        rows = spread(len(stimuli), n)
        some = score(_opened(model, "float32"), stimuli[rows], prompt=prompt, plan=plan, seed=seed)
        difference = differ(some, old.isel(stimulus=rows))
        if not difference < TOLERANCE:
            raise GenclsError(
                f"{model} on {stimuli.name}: {len(rows)} stimuli scored afresh differ from the record by up to "
                f"{difference:.1e} relative (allowed: {TOLERANCE:.0e}); the record is not of these weights, make it again"
            )
        return len(rows)

    def trials(
        self,
        stimuli: StimulusSet,
        model: str,
        scored: Scored,
        weighting: str | Weighting = "exp(-7t)",
        name: str | None = None,
    ) -> pd.DataFrame:
        """The trial table of one model: its answers under a weighting."""
        return trials.from_answers(name or model, stimuli, answers(scored.scores, weighting))


def under_every_level(
    name: str, photos: StimulusSet, levels: dict[str, float], categories: Sequence[str], options: dict[str, Any]
) -> StimulusSet:
    """Each photo under each level of one manipulation, condition by condition."""
    base = photos.images().astype(np.float64) / 255
    rows, images = [], []
    for label, level in levels.items():
        changed = manipulations.manipulate(name, base, level, seed=list(range(len(photos))), **options)
        images.append(np.rint(changed * 255).astype(np.uint8))
        table = photos.table.assign(condition=label)
        table["name"] = [f"{stem}-{name}-{label}" for stem in photos.table["name"]]
        rows.append(table)
    pixels = np.concatenate(images)
    return StimulusSet(name, pd.concat(rows, ignore_index=True), lambda i: pixels[i], categories)


def by_observer(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for observer, part in table.groupby("subj", sort=False):
        part = part.reset_index(drop=True)
        part.attrs.update(table.attrs)
        yield str(observer), part


def _admit(stimuli: StimulusSet, model: str, digest: str, dtype: str, some: bool) -> None:
    """Raise GenclsError where a model cannot be asked about these stimuli, of which `some` are on record; download it where that is all it lacks."""
    from gencls.models import zoo

    asked, ours = f"{model} on {stimuli.name}", _family(model) in {entry.id for entry in zoo.ENTRIES}
    if not (digest or ours or model.startswith("hf:") or (some and stimuli.missing)):
        raise zoo.unknown(model)
    if stimuli.missing:
        raise GenclsError(
            f"{asked}: not on record under these parameters, and the stimuli are not here: {stimuli.missing}"
        )
    if dtype != "float32" and not _is_fast(dtype):
        raise GenclsError(
            f"{asked}: no record in {dtype}, and this processor has no fast units for it; keep to float32"
        )
    if not digest and ours:
        raise GenclsError(
            f"{asked}: its weights are not here and no record holds these stimuli under this plan; "
            f"make the weights with `gencls train {model}`, or keep to the recorded parameters"
        )
    if not digest:
        zoo.open_model(model, dtype)  # downloads it, or says why not


def _kind(model: str) -> str:
    from gencls.models import zoo

    if folder := zoo.folder_of(model):
        return zoo.kind(folder)
    return {entry.id: entry.kind for entry in zoo.ENTRIES}.get(_family(model), "discriminative")


def _family(model: str) -> str:
    """The model whose other training seed, or whose moment along its training, this is."""
    return re.sub(r"[@-]\d+$", "", model)


def _is_fast(dtype: str) -> bool:
    from gencls.models.numbers import training_dtype

    return str(training_dtype()) == f"torch.{dtype}"


def _opened(model: str, dtype: str) -> Any:
    """The model, or the workers that hold it, as the options of `gencls run` say by the environment."""
    from gencls.likelihood import cluster
    from gencls.models import zoo

    said = os.environ.get("GENCLS_COMPILE")
    options = {"dtype": dtype, "compile": "auto" if said == "auto" else said == "1", **zoo.shown()}
    return cluster.from_environment(model, **options) or zoo.open_model(model, **options)


def _title(model: str, dtype: str) -> str:
    """What the model's records call it: its id, and what is changed of its preprocessing, for which it is opened."""
    from gencls.likelihood import cluster
    from gencls.models import zoo

    if not zoo.shown():
        return model
    opened = _opened(model, dtype)
    return opened.title if isinstance(opened, cluster.RayWorkers) else opened.name
