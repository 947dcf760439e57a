"""The loop that turns a model and stimuli into scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.forecast import evaluations
from gencls.likelihood.plans import Exhaustive, Staged, quadrature
from gencls.likelihood.weightings import weighting
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import ContrastiveModel, DiscriminativeModel
from gencls.models.memory import in_passes
from gencls.models.noise import noise
from gencls.models.noised import NoisedClassifier
from gencls.stimuli.sets import StimulusSet

Model = DiffusionModel | AutoregressiveModel | DiscriminativeModel | ContrastiveModel | NoisedClassifier

#: Fresh scores may differ from recorded ones by this much, relative: fp32 on another processor.
TOLERANCE = 2e-3


def score(
    model: Model | Workers,
    stimuli: StimulusSet,
    *,
    classes: Sequence[str] | None = None,
    prompt: str = cats.PROMPT,
    plan: Exhaustive | None = None,
    seed: int = 0,
    record: Path | None = None,
    model_digest: str = "",
    keys: Sequence[str] | None = None,
    unfinished: Path | None = None,
    progress: bool = True,
    following: int = 0,
) -> xr.Dataset:
    """Scores of every stimulus for every class.

    Parameters
    ----------
    model : an opened model, or one that several workers hold (`gencls.likelihood.cluster.RayWorkers`)
    classes : what to choose among; the set's categories by default
    prompt : with `{}` where the class goes; the paper's "A bad photo of a {}" by default
    plan : which timesteps and draws are spent; 16 timesteps, one draw by default
    seed : of the noise, which is a function of (seed, stimulus, timestep, draw) and shared by the classes
    record : where the scores are kept; taken up again after a kill, reused when everything they hang on is the same: only
        the stimuli that it lacks are scored, and it holds them too from then on
    keys : what stands for each stimulus in its noise; its name by default, a digest of the content for a user's own file
    unfinished : without a record, a folder where scores are kept one by one, and found again after a kill; whoever names it removes it
    following : stimuli that further calls of the same run bring; a model that is compiled where that pays counts them in

    Returns
    -------
    Dataset with `error` (stimulus × class × t × draw, float32, NaN where nothing was spent) and the coordinates `t` (timestep /
    num_train_timesteps; ends where α or σ is 0 are left out), `timestep`, `log_snr`, `quadrature` (the share of (0, 1) of each t), or, for a classifier, `log_probability`
    (stimulus × class), or, for an autoregressive model, `log_likelihood` (stimulus × class × token; `row` and `column` of each token, or, where a record keeps no more, summed over each row, as the attribute `tokens` says); `category`, `condition`, `texture` and `digest` of each stimulus; attributes name model, plan, seed.
    """
    classes = list(stimuli.categories if classes is None else classes)
    cats.distinct(classes)
    asked = Asked(tuple(classes), prompt, plan or Exhaustive(), seed)
    asking = model.ask(asked) if isinstance(model, Workers) else Loop(model, asked)
    bound = asking.told.bound | {"model_digest": model_digest}
    names, digests = list(stimuli.table["name"]), stimuli.stimulus_digests()
    keys = names if keys is None else list(keys)
    if record is not None and keys != names:
        raise GenclsError(
            "a record knows its stimuli by name and content, and not by other keys; leave out the record or the keys"
        )
    known = _recorded(record, bound) if record is not None and record.exists() else None
    rows = [None] * len(names) if known is None else records.matching(known, bound, names, digests)
    if known is not None and None not in rows:
        return known.isel(stimulus=rows)
    lacking = [i for i, row in enumerate(rows) if row is None]
    fresh = stimuli[lacking]
    folder = records.unfinished(record) if record is not None else unfinished
    work = records.Work(folder, records.key(bound)) if folder is not None else None
    values = _values(
        asking, fresh, [keys[i] for i in lacking], [digests[i] for i in lacking], work, progress, following
    )
    stimulus = {c: fresh.table[c].to_numpy(str) for c in ("category", "condition", "texture")}
    stimulus |= {"stimulus": fresh.table["name"].to_numpy(str), "digest": np.array([digests[i] for i in lacking], str)}
    scores = asking.told.dataset(values).assign_coords({name: ("stimulus", texts) for name, texts in stimulus.items()})
    scores = scores.assign_coords({"class": np.array(classes, str)})
    scores.attrs.update(bound, set=stimuli.name, **asking.told.facts)
    if record is not None and work is not None:
        with records.alone(record):  # another run may have put some of them there meanwhile
            if (old := _recorded(record, bound) if record.exists() else known) is not None:
                found = records.matching(old, bound, *zip(*((names[i], digests[i]) for i in lacking), strict=True))
                scores = records.join(old, scores.isel(stimulus=[i for i, row in enumerate(found) if row is None]))
            records.write(scores, record)
        work.close()
    return scores.isel(stimulus=records.matching(scores, bound, names, digests))


def _recorded(record: Path, bound: dict[str, str]) -> xr.Dataset:
    """The scores on a record; a GenclsError where they hang on something else than `bound`."""
    old = records.read(record)
    for name, value in bound.items():
        if (other := str(old.attrs.get(name))) != value:
            raise GenclsError(
                f"the record {record} was made with {name} {other!r}, not {value!r}; name another file, or delete it"
            )
    return old


def _values(
    asking: Asking,
    stimuli: StimulusSet,
    keys: Sequence[str],
    digests: Sequence[str],
    work: records.Work | None,
    progress: bool,
    following: int,
) -> np.ndarray:
    """Scores, stimulus × class × …: those that `work` has, and the others, which it keeps one by one."""
    values: list[np.ndarray | None] = [None] * len(stimuli)
    if work is not None:
        values = [work.get(digest, key) for digest, key in zip(digests, keys, strict=True)]
    todo, size = [i for i, value in enumerate(values) if value is None], asking.told.chunk
    chunks = [todo[start : start + size] for start in range(0, len(todo), size)]
    given = (([stimuli[i].image for i in rows], [keys[i] for i in rows]) for rows in chunks)
    done = len(stimuli) - len(todo)
    about = f"{asking.told.name} on {stimuli.name}"
    with tqdm(total=len(stimuli), initial=done, desc=about, unit="stimulus", disable=not progress) as bar:
        for number, found in asking.each(given, len(todo) + following):
            for i, value in zip(chunks[number], found, strict=True):
                values[i] = value
                if work is not None:
                    work.put(digests[i], keys[i], value)
            bar.update(len(chunks[number]))
    return np.stack([value for value in values if value is not None])


@dataclass(frozen=True)
class Asked:
    """What is asked of every stimulus."""

    classes: tuple[str, ...]
    prompt: str
    plan: Exhaustive
    seed: int


@dataclass(frozen=True)
class Told:
    """What must be known of a model to record its scores, wherever it is held.

    `bound`: what the scores hang on besides weights and stimuli; `facts`: what else a record says; `chunk`: stimuli that are scored
    together; `variable`, `dims` and `coords`: what a score is called, and its dimensions after stimulus and class.
    """

    name: str
    bound: dict[str, str]
    facts: dict[str, str]
    chunk: int
    variable: str
    dims: tuple[str, ...]
    coords: dict[str, Any]

    def dataset(self, values: np.ndarray) -> xr.Dataset:
        """Scores without names: stimulus × class × `dims`."""
        return xr.Dataset({self.variable: (("stimulus", "class", *self.dims), values)}, coords=self.coords)


#: Images and their keys in the noise.
Chunk = tuple[Sequence[np.ndarray], Sequence[str]]


class Asking(Protocol):
    """A model that has been asked something: it tells what it is, and scores chunk after chunk, each by itself."""

    told: Told

    def each(self, chunks: Iterable[Chunk], stimuli: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The number of a chunk and its scores, n×classes×…, float32, in any order. `stimuli`: about how many the whole run holds."""


@runtime_checkable
class Workers(Protocol):
    """A model that is held elsewhere, once or more than once."""

    def ask(self, asked: Asked) -> Asking:
        """Make ready to score."""


class Loop:
    """One model, here: chunks one after another."""

    def __init__(self, model: Model, asked: Asked) -> None:
        plan = asked.plan
        self.compiling, self._left, self._ways = model.compiling, 0, set[bool]()
        #: Evaluations a stimulus.
        self._rows = evaluations(model.kind, plan, 1, len(asked.classes))
        if isinstance(model, (DiffusionModel, NoisedClassifier)):
            self._score: _Diffusion | _Autoregressive | _Discriminative = _Diffusion(model, asked, self._pass)
        elif isinstance(model, AutoregressiveModel):
            self._score = _Autoregressive(model, asked)
        else:
            self._score = _Discriminative(model, asked)
        noised = 0.0 if isinstance(model, DiffusionModel) else model.noise
        dtype = model.dtype if isinstance(model, (DiffusionModel, AutoregressiveModel)) else "float32"
        bound = records.binding(model.name, model.kind, plan, asked.seed, asked.prompt, asked.classes, noised, dtype)
        facts = {"kind": model.kind, "preprocessing": model.preprocessing}
        if model.compiled and self.compiling is None:
            facts["compiled"] = "yes"
        if not isinstance(model, DiffusionModel):
            facts["readout"] = model.readout
        if isinstance(plan, Staged) and isinstance(model, (DiffusionModel, NoisedClassifier)):
            facts["eliminated_under"] = weighting(plan.weighting).name
        self.told = Told(model.name, bound, facts, self._score.chunk, *self._score.layout())

    def one(self, images: Sequence[np.ndarray], keys: Sequence[str]) -> np.ndarray:
        """The scores of one chunk."""
        if isinstance(self._score, _Diffusion):  # which has passes of its own
            return self._score(images, keys)
        return self._pass(partial(self._score, images, keys), len(images) * self._rows)

    def each(self, chunks: Iterable[Chunk], stimuli: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        self._left = stimuli * self._rows
        for number, chunk in enumerate(chunks):
            yield number, self.one(*chunk)

    def _pass(self, work: Callable[[], np.ndarray], rows: int) -> np.ndarray:
        """What so many evaluations give; on the way it may be found out whether compiling the model pays."""
        if self.compiling is None:
            return work()
        found = self.compiling.run(work, rows, self._left)
        self._left = max(0, self._left - rows)
        self._ways.add(self.compiling.on)
        if True in self._ways:
            self.told.facts["compiled"] = "in part" if False in self._ways else "yes"
        return found


class _Diffusion:
    """Denoising errors of a few stimuli at a time, or what a classifier of noised images has in their place; the forward passes fill the model's budget."""

    def __init__(
        self,
        model: DiffusionModel | NoisedClassifier,
        asked: Asked,
        run: Callable[[Callable[[], np.ndarray], int], np.ndarray],
    ) -> None:
        self.model, self.seed, self.classes, self.run = model, asked.seed, asked.classes, run
        self.plan = plan = asked.plan
        if isinstance(model, NoisedClassifier):
            self.conditions, rows = model.asked(self.classes), 1
        else:
            self.conditions, rows = model.conditions(cats.prompts(self.classes, asked.prompt)), len(self.classes)
        self.chunk = max(1, model.budget // rows)
        timestep, alpha, sigma = model.levels(plan.t)
        self.timestep = timestep.numpy()
        self.t = (
            timestep.double().numpy() / model.steps
        )  # where the schedule has a level: near the plan's t, not always on it
        self.usable = ((alpha > 0) & (sigma > 0)).numpy()
        if not self.usable.any():
            raise GenclsError(
                f"{model.name}: at every t of the plan there is no noise or no image; take more timesteps"
            )
        self.log_snr = (2 * (alpha.double() / sigma.double()).log()).numpy()
        self.factor = np.ones(len(self.t))
        if isinstance(plan, Staged):
            self.factor[~self.usable] = 0
            t, log_snr = self.t[self.usable], self.log_snr[self.usable]
            self.factor[self.usable] = quadrature(t) * weighting(plan.weighting)(t, log_snr)
            if not self.factor[plan.stages[0][0]].sum() > 0:
                raise GenclsError(
                    f"weighting {plan.weighting} is zero at every t of the plan's first stage, so that it cannot tell which "
                    "classes to drop; take more timesteps or a wider range"
                )

    def __call__(self, images: Sequence[np.ndarray], keys: Sequence[str]) -> np.ndarray:
        """n×classes×t×draw errors, float32, at the t where there are noise and image."""
        x0 = self.model.encode(images)
        n, m = len(x0), len(self.classes)
        errors = np.full((n, m, len(self.t), self.plan.draws), np.nan, np.float32)
        alive = np.tile(np.arange(m), (n, 1))
        spent: list[int] = []
        for rows, keep in self.plan.stages:
            for row in (row for row in rows if self.usable[row]):
                for draw in range(self.plan.draws):
                    rows_now = alive.size if isinstance(self.model, DiffusionModel) else n
                    errors_now = self.run(partial(self._at, x0, keys, row, draw, alive), rows_now)
                    errors[np.arange(n)[:, None], alive, row, draw] = errors_now
            spent += [row for row in rows if self.usable[row]]
            if keep is not None and isinstance(self.plan, Staged):
                so_far = (errors[:, :, spent].astype(np.float64).mean(3) * self.factor[spent]).sum(2)
                so_far[np.isnan(so_far)] = np.inf
                alive = np.sort(np.argsort(so_far, axis=1, kind="stable")[:, :keep], axis=1)
        return errors[:, :, self.usable]

    def _at(self, x0: torch.Tensor, keys: Sequence[str], row: int, draw: int, alive: np.ndarray) -> np.ndarray:
        shape = tuple(x0.shape[1:])
        draws = torch.stack([noise(self.seed, key, float(self.timestep[row]), draw, shape) for key in keys])
        t = torch.full((len(x0),), float(self.t[row]), dtype=torch.float64)
        out = self.model.errors(x0, draws.to(x0.device), t, torch.from_numpy(alive), self.conditions)
        return out.float().cpu().numpy()

    def layout(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        kept = self.usable
        coords = {
            "t": self.t[kept],
            "timestep": ("t", self.timestep[kept].astype(np.float64)),
            "log_snr": ("t", self.log_snr[kept]),
            "quadrature": ("t", quadrature(self.t[kept])),
            "draw": np.arange(self.plan.draws),
        }
        return "error", ("t", "draw"), coords


class _Autoregressive:
    """Log-likelihoods of every image token of a few stimuli at a time."""

    chunk = 8

    def __init__(self, model: AutoregressiveModel, asked: Asked) -> None:
        self.model, self.prompts = model, model.read(cats.prompts(asked.classes, asked.prompt))

    def __call__(self, images: Sequence[np.ndarray], keys: Sequence[str]) -> np.ndarray:
        return self.model.log_likelihoods(self.model.encode(images), self.prompts)

    def layout(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        row, column = np.indices(self.model.grid).reshape(2, -1)
        return "log_likelihood", ("token",), {"row": ("token", row), "column": ("token", column)}


class _Discriminative:
    """Log-probabilities of a few stimuli at a time."""

    chunk = 64

    def __init__(self, model: DiscriminativeModel | ContrastiveModel, asked: Asked) -> None:
        self.model, self.classes, self.prompt, self.seed = model, asked.classes, asked.prompt, asked.seed
        self.fitting = self.chunk

    def __call__(self, images: Sequence[np.ndarray], keys: Sequence[str]) -> np.ndarray:
        def some(rows: slice) -> np.ndarray:
            draws = None
            if isinstance(self.model, DiscriminativeModel) and self.model.noise:
                shape = (3, self.model.size, self.model.size)
                draws = torch.stack([noise(self.seed, key, self.model.noise, 0, shape) for key in keys[rows]])
            return self.model.log_probabilities(images[rows], self.classes, draws, self.prompt).astype(np.float32)

        done, self.fitting = in_passes(some, len(images), self.fitting, self.model.name)
        return np.concatenate(done)

    def layout(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        return "log_probability", (), {}


def differ(fresh: xr.Dataset, old: xr.Dataset) -> float:
    """The largest relative difference between fresh scores and those on record (same stimuli)."""
    fresh, old = records.alike(fresh, old)
    name = next(name for name in ("error", "log_likelihood", "log_probability") if name in fresh)
    a, b = fresh[name].values.astype(float), old[name].values.astype(float)
    scale = np.nanmax(np.abs(b)) * 1e-3
    return float(np.nanmax(np.abs(a - b) / (np.abs(b) + scale)))
