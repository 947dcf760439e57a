"""`gencls train ID`: every model that this project trains, made again from its id."""

from __future__ import annotations

import json
import math
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gencls.errors import GenclsError
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.shapes import SHAPES, ShapesWorld
from gencls.stimuli.tiny_imagenet import TinyImageNet
from gencls.training.data import pool

POOL = 65_536  # training photos


@dataclass(frozen=True)
class Recipe:
    """What a training run is given. The budget, `steps` × `batch` presentations, is fixed before the first step.

    `seed` rules weights, order, captions and noise; the photos are the same for every seed.
    """

    kind: str  # "pixel", "latent", "resnet", "driver" or "noised-classifier"
    steps: int
    batch: int
    seed: int = 0
    world: ShapesWorld | TinyImageNet = field(default_factory=ShapesWorld)
    width: int = 256
    noise: tuple[float, float] | None = None  # range of γ, for a ResNet
    photos: int = POOL
    patch: int = 8  # pixels a side of a transformer's patches
    depth: tuple[int, ...] = (1, 3)  # blocks without and with the text; a ResNet's blocks in each stage
    schedule: str = "cosine"  # of a driver: see `gencls.training.pixel.scheduler`
    autoencoder: int = 0  # steps of a latent model's autoencoder, which come first
    loss: str = "x0"  # … and what its error is weighted by: see `gencls.training.drivers.LOSSES`

    @property
    def natural(self) -> bool:
        """Whether it learns from photographs."""
        return isinstance(self.world, TinyImageNet)

    @property
    def side(self) -> int:
        """Pixels a side of its images."""
        return tiny_imagenet.SIDE if self.natural else 32

    @property
    def magnify(self) -> int:
        """How often a ResNet is shown each pixel, each way: its first layers divide by four, which would leave nothing of a texture at 32 px."""
        return 1 if self.natural else 2

    @property
    def labels(self) -> tuple[str, ...]:
        """What a classifier answers with: the shapes, or the fine classes by their WordNet ids."""
        if isinstance(self.world, TinyImageNet):
            return tuple(entry.wnid for entry in tiny_imagenet.classes(self.world.count))
        return SHAPES


_RESNET = Recipe("resnet", 24_000, 32, width=64, depth=(2, 2, 2))
_CONTROL = replace(_RESNET, steps=9000)
_DRIVER = Recipe("driver", 4000, 32, width=128)
_SMALL = Recipe("resnet", 4000, 32, width=32, depth=(2, 2, 2))  # as many presentations
_PHOTOGRAPHS = Recipe("pixel", 5000, 128, world=TinyImageNet(), width=320, patch=16, depth=(2, 4))
_CLASSIFIER = replace(_PHOTOGRAPHS, kind="resnet", steps=2500, batch=64, width=128, depth=(2, 2, 2))
_HALF_TEXTURE, _HALF_SHAPE = ShapesWorld(texture_reliability=0.5), ShapesWorld(shape_reliability=0.5)

RECIPES: dict[str, Recipe] = {
    "shapes/pixel": Recipe("pixel", 7000, 32),
    "shapes/resnet": _RESNET,
    "shapes/resnet-noise": replace(_RESNET, noise=(0.0, 1.0)),
    "shapes/control-shape": replace(_CONTROL, world=ShapesWorld(texture_reliability=0.0)),
    "shapes/control-texture": replace(_CONTROL, world=ShapesWorld(shape_reliability=0.0)),
    "drivers/cosine-x0": _DRIVER,
    "drivers/cosine-eps": replace(_DRIVER, loss="eps"),
    "drivers/cosine-exp": replace(_DRIVER, loss="exp"),
    "drivers/linear-x0": replace(_DRIVER, schedule="linear"),
    "drivers/flow-x0": replace(_DRIVER, schedule="flow"),
    "drivers/denoising-classifier": replace(_DRIVER, kind="noised-classifier"),
    "drivers/resnet": _SMALL,
    "drivers/resnet-half-texture": replace(_SMALL, world=_HALF_TEXTURE),
    "drivers/resnet-half-shape": replace(_SMALL, world=_HALF_SHAPE),
    "drivers/pixel-half-texture": replace(_DRIVER, world=_HALF_TEXTURE),
    "drivers/pixel-half-shape": replace(_DRIVER, world=_HALF_SHAPE),
    "natural/pixel": _PHOTOGRAPHS,
    "natural/latent": Recipe("latent", 6000, 64, world=TinyImageNet(), width=128, autoencoder=2500),
    "natural/resnet": _CLASSIFIER,
    "natural/resnet-noise": replace(_CLASSIFIER, noise=(0.0, 1.0)),
    "natural/denoising-classifier": replace(_CLASSIFIER, kind="noised-classifier", width=320, depth=(6,)),
}


def recipe(model: str) -> Recipe:
    """The recipe of `shapes/pixel`, or of another training seed of it, `shapes/pixel@1`."""
    name, _, seed = model.partition("@")
    if name not in RECIPES or (seed and not seed.isdecimal()):
        raise GenclsError(
            f"no recipe for {model!r}; known are {', '.join(RECIPES)}, each with @1, @2, … for another seed"
        )
    return replace(RECIPES[name], seed=int(seed or 0))


def train(model: str, out: Path, cache: Path | None = None, given: Recipe | None = None, snapshots: int = 0) -> Path:
    """Train a model and write its folder: an ordinary diffusers or transformers folder with a model card.

    A run that was killed is taken up again from its last checkpoint, `<out>.checkpoint`, by the same call. The folder
    stands there whole or not at all; GenclsError where `out` holds anything but an earlier model. `cache`: where the
    training photos are kept between runs. `snapshots`: how many models are kept along a classifier's training, after a half of
    its steps, a quarter, an eighth …, in `<out>-<steps>`.
    """
    from gencls.training.drivers import classifier, train_classifier, train_generator
    from gencls.training.latent import latent_pipeline, train_latent
    from gencls.training.pixel import PHOTO_TEXTS, SHAPE_TEXTS, pipeline, train_pixel
    from gencls.training.resnet import resnet, train_resnet

    plan = given or recipe(model)
    if out.exists() and not (out.is_dir() and ((out / "gencls.json").is_file() or not any(out.iterdir()))):
        raise GenclsError(f"{out} holds something else than a trained model; name a new folder, or empty it first")
    photos = pool(plan.world, plan.photos, cache)
    size: dict[str, Any] = {"width": plan.width, "patch_size": plan.patch, "side": plan.side}
    checkpoint = out.with_name(out.name + ".checkpoint")
    bound = json.dumps(asdict(plan))
    run = (photos, plan.steps, plan.batch, plan.seed, checkpoint)
    saved: Any

    def snapshot(step: int, seconds: float) -> None:
        _publish(model, replace(plan, steps=step), saved, seconds, out.with_name(f"{out.name}-{step}"))

    along = {step: partial(snapshot, step) for step in (plan.steps // 2**k for k in range(1, snapshots + 1))}
    if plan.kind in ("pixel", "driver"):
        trunk, text = plan.depth
        texts = PHOTO_TEXTS if plan.natural else SHAPE_TEXTS
        saved = pipeline(plan.seed, **size, trunk_depth=trunk, text_depth=text, noise=plan.schedule, texts=texts)
    if plan.kind == "pixel":
        seconds = train_pixel(saved, *run, label=model, recipe=bound, fast=plan.natural)
    elif plan.kind == "latent":
        saved = latent_pipeline(plan.seed, width=plan.width, side=plan.side)
        seconds = train_latent(saved, *run, first=plan.autoencoder, label=model, recipe=bound)
    elif plan.kind == "driver":
        seconds = train_generator(saved, *run, loss=plan.loss, label=model, recipe=bound)
    elif plan.kind == "noised-classifier":
        saved = classifier(plan.seed, depth=sum(plan.depth), labels=plan.labels, **size)
        seconds = train_classifier(saved, *run, label=model, recipe=bound, fast=plan.natural, snapshots=along)
    else:
        saved = resnet(plan.seed, plan.width, plan.depth, plan.labels)
        seconds = train_resnet(
            saved,
            *run,
            noise=plan.noise,
            label=model,
            recipe=bound,
            magnify=plan.magnify,
            fast=plan.natural,
            snapshots=along,
        )
    done = _publish(model, plan, saved, seconds, out)
    for stage in ("", ".autoencoder"):
        checkpoint.with_name(checkpoint.name + stage).unlink(missing_ok=True)
    return done


def _publish(model: str, plan: Recipe, saved: Any, seconds: float, out: Path) -> Path:
    """Write weights, preprocessing, temperature and card into a new folder, then put it in its place."""
    new = out.with_name(out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    saved.save_pretrained(new, safe_serialization=True)
    if plan.kind == "resnet":
        side = dict.fromkeys(("height", "width"), plan.side * plan.magnify)
        half = {"size": side, "resample": 0, "magnify": plan.magnify, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (new / "preprocessor_config.json").write_text(json.dumps(half, indent=1))
    facts = {"seconds": round(seconds), "presentations": plan.steps * plan.batch}
    facts |= _examine(new, model, plan)
    (new / "gencls.json").write_text(json.dumps(facts, indent=1))
    (new / "README.md").write_text(_card(model, plan, seconds, facts))
    if out.exists():
        shutil.rmtree(out)
    new.rename(out)
    return out


def _examine(folder: Path, model: str, plan: Recipe) -> dict[str, Any]:
    """Temperature and accuracy on photos that training never showed, from their own split."""
    from gencls.categories import PROMPT
    from gencls.likelihood.plans import Exhaustive
    from gencls.likelihood.scoring import score
    from gencls.likelihood.weightings import answers, fit_temperature
    from gencls.models.zoo import open_folder

    loaded = open_folder(folder, model)
    driver = plan.kind == "driver"  # trained on the bare category
    photos = plan.world.stimuli("photos", 128 if plan.kind in ("driver", "noised-classifier") else 256, split="dev")
    scores = score(loaded, photos, plan=Exhaustive(8 if driver else 16), prompt="{}" if driver else PROMPT)
    right = photos.table["category"].tolist()
    n = len(right)
    correct = sum(a == b for a, b in zip(answers(scores), right, strict=True))
    low, high = _wilson(correct, n)
    return {
        "temperature": fit_temperature(scores, right),
        "in_distribution_accuracy": {"value": correct / n, "low": low, "high": high, "n": n, "split": "dev"},
    }


def _wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    centre, spread = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return centre - spread, centre + spread


def _commit() -> str:
    try:
        here = Path(__file__).parent
        done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _card(model: str, plan: Recipe, seconds: float, facts: dict[str, Any]) -> str:
    import torch

    from gencls.models.numbers import training_dtype

    accuracy = facts["in_distribution_accuracy"]
    rows = {
        "recipe": json.dumps({k: v for k, v in asdict(plan).items() if k != "world"}),
        "training photos": f"photos/train 0–{plan.photos - 1} of {plan.world}"
        if isinstance(plan.world, ShapesWorld)
        else f"{plan.world.count} classes of Tiny-ImageNet, {tiny_imagenet.SPLITS['train']} photographs each, mirrored half of the time",
        "photos' digest (first 256)": plan.world.stimuli("photos", n=256, split="train").digest()[:16],
        "presentations": f"{plan.steps * plan.batch:,}",
        "commit": _commit(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {str(training_dtype())[6:]} products",
        "torch": torch.__version__,
        "wall time": f"{seconds / 60:.1f} min",
        "trained on": time.strftime("%Y-%m-%d"),
        "in-distribution accuracy": f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}], n = {accuracy['n']} (dev split)",
    }
    table = "\n".join(f"| {k} | {v} |" for k, v in rows.items())
    return f"# {model}\n\nMade by `gencls train {model}`.\n\n| | |\n| --- | --- |\n{table}\n"
