"""Worlds: categories, stimulus sets and observers that belong together, and their scores on record."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from gencls import categories as cats
from gencls import downloads, trials
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.weightings import Weighting, answers
from gencls.stimuli import benchmark, illusions, manipulations, tiny_imagenet
from gencls.stimuli.pictures import prepare
from gencls.stimuli.sets import StimulusSet, spread
from gencls.stimuli.shapes import SETS, SHAPES, ShapesWorld

RECORDS = Path(__file__).resolve().parents[1] / "book" / "records"
#: Where `gencls train` leaves the weights of other training seeds, which do not ship.
WEIGHTS_OF_SEEDS = Path(__file__).resolve().parents[1] / "runs" / "weights"
SEEDS = (0, 1, 2)
#: The plan of the shipped records, and the cheaper one of the many conditions of the out-of-distribution sets.
PLAN = Exhaustive(timesteps=16)
OOD_PLAN = Exhaustive(timesteps=8)
#: How many stimuli of each set the shipped records hold (out of distribution: a condition).
COUNTS = {"photos": 160, "cue-conflict": 240, "silhouette": 160, "edge": 160, "texture": 160}
OOD_COUNT = 32
#: … and of each kind of illusion.
ILLUSION_COUNT = 48
#: The same for the natural world: few noise levels, most of them where the paper's weighting looks.
NATURAL_PLAN = Exhaustive(timesteps=8, warp=1.5)
NATURAL_OOD_PLAN = Exhaustive(timesteps=5, warp=1.5)
#: The real stimuli that the natural world shares with people, and how many photographs a condition it manipulates.
REAL_SETS = ("cue-conflict", "edge", "silhouette")
NATURAL_OOD_COUNT = 55
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
        """A stimulus set of this world by name; `n` of them, spread over the set, or all."""
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
            if stimuli.missing:
                if not (parts or digest or zoo.listed(model) or model.startswith("hf:")):
                    raise zoo.unknown(model)
                raise GenclsError(
                    f"{model} on {stimuli.name}: not on record under these parameters, and the stimuli are not here: {stimuli.missing}"
                )
            if not exact:
                from gencls.models.numbers import training_dtype

                if str(training_dtype()) != f"torch.{dtype}":
                    raise GenclsError(
                        f"{model} on {stimuli.name}: no record in {dtype}, and this processor has no fast units for it; keep to float32"
                    )
            if not digest and model.startswith("hf:"):
                zoo.open_model(model, dtype)  # downloads it, or says why not
                if zoo.digest(model):
                    return self.scores(stimuli, model, plan=plan, seed=seed, prompt=prompt, check=check, dtype=dtype)
            if not digest and _family(model) not in {entry.id for entry in zoo.ENTRIES}:
                raise zoo.unknown(model)
            if not digest:
                raise GenclsError(
                    f"{model} on {stimuli.name}: its weights are not here and no record holds these stimuli under this plan; "
                    f"make the weights with `gencls train {model}`, or keep to the recorded parameters"
                )
            parts.append(_score(stimuli[left], model, plan, seed, prompt, cached, digest, dtype))
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
        from gencls.likelihood.scoring import TOLERANCE, differ

        rows = spread(len(stimuli), n)
        some = _score(stimuli[rows], model, plan, seed, prompt, None, "")
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


class Shapes(World):
    """Drawn by code: 16 shapes × 16 textures at 32×32, models trained by this project."""

    name = "shapes"
    categories = SHAPES
    sets = (*SETS, illusions.NAME, *manipulations.SHAPES_LEVELS)
    models = ("shapes/pixel", "shapes/resnet", "shapes/resnet-noise")
    controls = ("shapes/control-shape", "shapes/control-texture")

    def __init__(self, **settings: object) -> None:
        self.painter = ShapesWorld(**settings)  # type: ignore[arg-type]

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name in SETS:
            return self.painter.stimuli(name, COUNTS[name] if n is None else n)
        if name == illusions.NAME:
            return illusions.stimuli(self.painter, ILLUSION_COUNT if n is None else n)
        if name not in manipulations.SHAPES_LEVELS:
            return super().stimuli(name)
        return self._manipulated(name, OOD_COUNT if n is None else n)

    def plan(self, name: str) -> Exhaustive:
        return PLAN if name in (*SETS, illusions.NAME) else OOD_PLAN

    def _manipulated(self, name: str, n: int) -> StimulusSet:
        """`n` photos a condition, each under every level of one manipulation; other photos than the set `photos`."""
        if n < 1:
            raise GenclsError(f"stimulus set {name!r}: n is {n}; ask for at least one stimulus a condition")
        levels = manipulations.SHAPES_LEVELS[name]
        photos = self.painter.stimuli("photos", 4096 + n)[4096 : 4096 + n]
        options = {}
        if name == "power-equalisation":
            options["spectrum"] = manipulations.mean_spectrum(
                self.painter.stimuli("photos", 256, "dev").images() / 255.0
            )
        return _under_every_level(name, photos, levels, SHAPES, options)


class Natural(World):
    """Photographs at 64×64 in 11 of the 16 entry-level categories, models trained by this project, and people on the real stimuli.

    Where the data are not here, the sets stand on their records: tables, digests and scores without pictures.
    """

    name = "natural"
    categories = tiny_imagenet.NATURAL
    sets = ("photos", *REAL_SETS, *manipulations.NATURAL_LEVELS)
    withheld = ("photos", *manipulations.NATURAL_LEVELS)  # ImageNet's terms
    noise_seeds = (0,)
    models = (
        *("natural/pixel", "natural/latent", "natural/ar"),
        *("natural/denoising-classifier", "natural/clip"),
        *("natural/resnet", "natural/resnet-noise", "natural/vit"),
        *("natural/latent-denoising-classifier", "natural/latent-classifier", "natural/tokens"),
        *("natural/pixel32", "natural/resnet32"),
    )

    @property
    def moments(self) -> tuple[str, ...]:
        """Models along the trainings of others, `natural/resnet-750` after 750 steps, as far as their photographs are on record."""
        found = (re.fullmatch(r"(.+)-(\d+)\.zarr\.zip", p.name) for p in (RECORDS / self.name / "photos").glob("*.zip"))
        named = sorted((m[1], int(m[2])) for m in found if m and f"{self.name}/{m[1]}" in self.models)
        return tuple(f"{self.name}/{family}-{steps}" for family, steps in named)

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name not in self.sets:
            return super().stimuli(name)
        source = "texture-vs-shape" if name in REAL_SETS else "tiny-imagenet"
        if downloads.find(source) is None:  # a record is no reason to download anything
            why = f"'{source}' is not on this machine; `gencls data fetch {source}` gets it"
            if (found := self._recorded(name, why)) is not None:
                return found if n is None else found[spread(len(found), n)]
        return self._here(name, n)

    def _here(self, name: str, n: int | None) -> StimulusSet:
        if name in manipulations.NATURAL_LEVELS:
            return self._manipulated(name, NATURAL_OOD_COUNT if n is None else n)
        photos = name == "photos"
        whole = tiny_imagenet.TinyImageNet().stimuli("photos") if photos else self._ours(benchmark.stimuli(name))
        chosen = whole if n is None else whole[spread(len(whole), n)]  # of those on record, as without the data
        if photos:
            return chosen
        side = tiny_imagenet.SIDE
        return StimulusSet(name, chosen.table, lambda i: prepare(chosen[i].image, side), self.categories)

    def _ours(self, whole: StimulusSet) -> StimulusSet:
        """The stimuli whose cues are among the 11 categories; under cue conflict they differ."""
        table, own = whole.table, set(self.categories)
        keep = table["category"].isin(own) & (table["category"] != table["texture"])
        keep &= table["texture"].isin(own) | (table["texture"] == "")
        return whole[np.flatnonzero(keep)]

    def _manipulated(self, name: str, n: int) -> StimulusSet:
        """`n` held-out photographs a condition, each under every level of one manipulation."""
        world, levels = tiny_imagenet.TinyImageNet(), manipulations.NATURAL_LEVELS[name]
        options = {}
        if name == "power-equalisation":
            options["spectrum"] = manipulations.mean_spectrum(
                world.stimuli("photos", split="dev").images().astype(float) / 255
            )
        return _under_every_level(name, world.stimuli("photos", n), levels, self.categories, options)

    def _recorded(self, name: str, why: str) -> StimulusSet | None:
        """A set as the first record of it holds it."""
        for path in sorted((RECORDS / self.name / name).glob("*.zarr.zip")):
            scores = records.read(path)
            table = pd.DataFrame({c: scores[c].values for c in ("category", "condition", "texture")})
            table.insert(0, "name", scores["stimulus"].values)

            def nothing(_: int) -> np.ndarray:
                raise GenclsError(f"the pictures of {name} are not here: {why}")

            return StimulusSet(name, table, nothing, self.categories, list(scores["digest"].values), why)
        return None

    def plan(self, name: str) -> Exhaustive:
        return NATURAL_OOD_PLAN if name in manipulations.NATURAL_LEVELS else NATURAL_PLAN

    def people(self, name: str) -> dict[str, pd.DataFrame]:
        return self._trials(name, "human")

    def networks(self, name: str) -> dict[str, pd.DataFrame]:
        return self._trials(name, "networks") if name in trials.NETWORK_SETS else {}

    def _trials(self, name: str, observers: Literal["human", "networks"]) -> dict[str, pd.DataFrame]:
        """Recorded trials on the stimuli of this world; they saw 224 px and chose among 16 categories."""
        if name not in REAL_SETS or (stimuli := self.stimuli(name)).missing:
            return {}
        table = trials.load(name, observers)
        part = table[table["stimulus"].isin(stimuli.table["name"])]
        part.attrs.update(table.attrs)
        return dict(_by_observer(part))


class Full(World):
    """The 17 model-vs-human sets at 224×224, the people who saw them, and any pretrained model."""

    name = "full"
    categories = cats.CATEGORIES
    sets = tuple(benchmark.SETS)
    models = ("pypi:efficientnet-lite0",)
    controls = ()

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name not in self.sets:
            return super().stimuli(name)
        whole = benchmark.stimuli(name)
        return whole if n is None else whole[spread(len(whole), n)]

    def people(self, name: str) -> dict[str, pd.DataFrame]:
        return dict(_by_observer(trials.load(name, "human")))

    def networks(self, name: str) -> dict[str, pd.DataFrame]:
        return dict(_by_observer(trials.load(name, "networks"))) if name in trials.NETWORK_SETS else {}


def _under_every_level(
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


def _by_observer(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for observer, part in table.groupby("subj", sort=False):
        part = part.reset_index(drop=True)
        part.attrs.update(table.attrs)
        yield str(observer), part


def _kind(model: str) -> str:
    from gencls.models import zoo

    if folder := zoo.folder_of(model):
        return zoo.kind(folder)
    return {entry.id: entry.kind for entry in zoo.ENTRIES}.get(_family(model), "discriminative")


def _family(model: str) -> str:
    """The model whose other training seed, or whose moment along its training, this is."""
    return re.sub(r"[@-]\d+$", "", model)


def _score(
    stimuli: StimulusSet,
    model: str,
    plan: Exhaustive,
    seed: int,
    prompt: str,
    record: Path | None,
    digest: str,
    dtype: str = "float32",
) -> xr.Dataset:
    from gencls.likelihood.scoring import score

    opened = _opened(model, dtype)
    return score(opened, stimuli, prompt=prompt, plan=plan, seed=seed, record=record, model_digest=digest)


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


WORLDS = {"shapes": Shapes, "natural": Natural, "full": Full}


def open_world(name: str, **settings: object) -> World:
    """A world by its name; the shapes world takes ShapesWorld's settings."""
    if name not in WORLDS:
        raise GenclsError(f"no world {name!r}; there are {', '.join(WORLDS)}")
    try:
        return WORLDS[name](**settings)
    except TypeError as error:
        raise GenclsError(
            f"world {name!r}: {str(error).partition('() ')[2] or error}; see ShapesWorld's settings"
        ) from error


def missing(sets: Sequence[str]) -> str:
    """What the world `full` lacks on this machine, in one sentence; empty if nothing."""
    for name in sets:
        try:
            benchmark.stimuli(name)
            trials.load(name, "human")
        except GenclsError as error:
            return str(error)
    return ""
