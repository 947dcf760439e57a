"""The noise ablation: shape bias and accuracy of classifiers with noise at test, trained with and without noise."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gencls import metrics, trials
from gencls.analyses.bias import range_over
from gencls.errors import GenclsError
from gencls.metrics import Bootstrap, Estimate, seeded
from gencls.worlds import Shapes, World, seeds_of

if TYPE_CHECKING:
    from gencls.models.discriminative import DiscriminativeModel

QUICK = Bootstrap(method="percentile", draws=1000)
#: What the paper reports for a ResNet-50 on ImageNet without and with its noise (Jaini et al. 2024, section 4).
REPORTED = {"ResNet-50": 0.21, "ResNet-50, diffusion noise": 0.78}
BIAS, ACCURACY = "shape bias", "accuracy"


@dataclass(frozen=True)
class Schedule:
    """The noise of a training: √γ·x + √(1−γ)·ε with γ uniform in [low, high], on this share of the images."""

    low: float = 0.0
    high: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high <= 1 and 0 <= self.share <= 1):
            raise GenclsError(
                f"noise schedule: γ from {self.low} to {self.high} on a share of {self.share}; "
                "give 0 ≤ low ≤ high ≤ 1 and a share from 0 to 1"
            )


def classifiers(world: World, models: Sequence[str] | None, seeds: bool = True) -> dict[str, DiscriminativeModel]:
    """The world's classifiers whose weights are here, by id, with their other training seeds."""
    from gencls.models import zoo
    from gencls.models.discriminative import DiscriminativeModel

    found = {}
    for family in world.models if models is None else models:
        for model in seeds_of(family) if seeds and family.startswith("shapes/") else [family]:
            if not zoo.digest(model):
                continue
            try:
                opened = zoo.open_model(model)
            except GenclsError:
                continue
            if isinstance(opened, DiscriminativeModel):
                found[model] = opened
    return found


def train_two(
    world: World,
    schedule: Schedule,
    *,
    steps: int,
    width: int = 32,
    batch: int = 32,
    photos: int | None = None,
    seed: int = 0,
) -> dict[str, DiscriminativeModel]:
    """Two small ResNets, `clean` and `noised`: same photos, order and first weights; they differ in the noise alone.

    They are shown 32×32 as it is: a quarter of what it costs to show each pixel as 2×2, as the shipped ones are.

    `steps` × `batch` presentations each, of `photos` (by default no more than are presented, at most 4,096). {} in a world whose training images are not here (`full`).
    """
    if not isinstance(world, Shapes):
        return {}
    from gencls.models.discriminative import DiscriminativeModel
    from gencls.training.classifiers import resnet, train_on_labels
    from gencls.training.data import Photos
    from gencls.training.loop import Run

    pool = Photos(world.painter, photos or min(4096, steps * batch))
    made = {}
    for name, share in (("clean", 0.0), ("noised", schedule.share)):
        network = resnet(seed, width)
        gamma = (schedule.low, schedule.high)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(steps, batch, seed, Path(folder) / "checkpoint", label=name)
            train_on_labels(network, pool, run, noise=gamma, noised=share, rate=6e-3, magnify=1)
        made[name] = DiscriminativeModel(network, name, world.categories, 32)
    return made


def noised(model: DiscriminativeModel, share: float) -> DiscriminativeModel:
    """The same network, which is shown √(1−share)·x + √share·ε instead of x."""
    if not 0 <= share <= 1:
        raise GenclsError(f"noise at test: the share is {share}; give 0 (clean) to 1 (noise alone)")
    other = copy.copy(model)
    other.noise = share
    return other


def answers_at(world: World, set_name: str, model: DiscriminativeModel, share: float, n: int | None) -> pd.DataFrame:
    """Trials on a set with this share of noise at test, computed afresh; the noise is a function of the stimulus."""
    from gencls.likelihood.scoring import score
    from gencls.likelihood.weightings import answers

    stimuli = world.stimuli(set_name, n)
    scores = score(noised(model, share), stimuli, progress=False)
    return trials.from_answers(model.name, stimuli, answers(scores))


def ablation(
    world: World, models: Mapping[str, DiscriminativeModel], shares: Sequence[float], n: int | None
) -> dict[tuple[str, str, float], Estimate]:
    """(observer, measure, share of noise at test) → estimate.

    `shape bias` (with its counts) is on cue-conflict stimuli; `accuracy` on the world's photos, or, where it has none, the
    share of cue-conflict answers that follow either cue.
    """
    found: dict[tuple[str, str, float], Estimate] = {}
    for name, model in models.items():
        for share in shares:
            bias = metrics.shape_bias(answers_at(world, "cue-conflict", model, share, n), None, QUICK)
            found[name, BIAS, share] = bias
            if "photos" in world.sets:
                found[name, ACCURACY, share] = metrics.accuracy(answers_at(world, "photos", model, share, n), QUICK)
            else:
                found[name, ACCURACY, share] = bias.cue_accuracy
    return found


def difference(
    world: World, clean: Sequence[DiscriminativeModel], noised: Sequence[DiscriminativeModel], n: int | None
) -> Estimate:
    """Shape bias of the networks that were trained with noise less that of those without, one a training seed, on the same stimuli without noise at test."""
    of = [[answers_at(world, "cue-conflict", model, 0.0, n) for model in models] for models in (noised, clean)]
    return seeded.bias_difference(of[0], of[1])


def frame(found: Mapping[tuple[str, str, float], Estimate]) -> pd.DataFrame:
    """`observer, measure, share, value, low, high, n`, the default training seed of every model."""
    rows = [
        {"observer": o, "measure": m, "share": s, "value": e.value, "low": e.low, "high": e.high, "n": e.n}
        for (o, m, s), e in found.items()
        if "@" not in o
    ]
    return pd.DataFrame(rows, columns=["observer", "measure", "share", "value", "low", "high", "n"])


def over_seeds(found: Mapping[tuple[str, str, float], Estimate], share: float) -> dict[tuple[str, str], Estimate]:
    """(family, measure) → mean over its training seeds; `low` and `high` are the lowest and highest, `n` their number."""
    groups: dict[tuple[str, str], list[float]] = {}
    for (observer, measure, at), e in found.items():
        if at == share:
            groups.setdefault((observer.partition("@")[0], measure), []).append(e.value)
    return {key: range_over("training seeds", values) for key, values in groups.items()}


def said(found: Mapping[tuple[str, str, float], Estimate]) -> pd.DataFrame:
    """One sentence a share of noise, with the counts behind each bias: `share, text`."""
    rows: dict[float, list[str]] = {}
    for (observer, measure, share), e in found.items():
        if measure == BIAS and "@" not in observer:
            counts = f"{observer} {e.shape} shape, {e.texture} texture, {e.other} other"
            rows.setdefault(share, []).append(counts)
    return pd.DataFrame([{"share": s, "text": f"Decisions: {'; '.join(c)}."} for s, c in rows.items()])
