"""`gencls train ID`: every model that this project trains, made again from its id."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from gencls.categories import PROMPT
from gencls.downloads import alone
from gencls.errors import GenclsError
from gencls.models.devices import choose
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.shapes import SHAPES, ShapesWorld
from gencls.stimuli.tiny_imagenet import TinyImageNet
from gencls.training.data import Labelled, Photographs, Photos, pool
from gencls.training.publishing import publish, vacant

if TYPE_CHECKING:
    from gencls.training.classifiers import Codes

POOL = 65_536  # training photos
#: How long steps are timed where a budget is given in minutes.
PROBE_SECONDS = 5.0
#: What may be done with a model along its training: itself, steps and seconds so far.
Look: TypeAlias = Callable[[Any, int, float], object]


@dataclass(frozen=True)
class Recipe:
    """What a training run is given. The budget, `steps` × `batch` presentations, is fixed before the first step.

    `seed` rules weights, order, captions and noise; the photos are the same for every seed.
    """

    kind: str  # "pixel", "latent", "autoregressive", "resnet", "vit", "codes", "clip", "driver" or "noised-classifier"
    steps: int
    batch: int
    seed: int = 0
    world: ShapesWorld | TinyImageNet = field(default_factory=ShapesWorld)
    width: int = 256
    noise: tuple[float, float] | None = None  # range of γ, for a ResNet
    noised: float = 1.0  # share of its images that the noise is for
    photos: int = POOL
    patch: int = 8  # pixels a side of a transformer's patches, or of what an image token stands for
    pixels: int = tiny_imagenet.SIDE  # a side of the photographs, where they are reduced
    depth: tuple[int, ...] = (1, 3)  # blocks without and with the text; a ResNet's blocks in each stage
    schedule: str = "cosine"  # of a driver: see `gencls.training.pixel.scheduler`
    activation: str = "gelu"  # of a transformer: see `gencls.models.pixel.ACTIVATIONS`
    sigma_data: float | None = None  # of a generator: see `gencls.models.pixel.PatchTransformer`
    rate: float = 1e-3  # the highest learning rate
    most: float = 2.0  # where the weight of a generator's error stops: see `gencls.training.pixel.train_pixel`
    first: int = 0  # steps of the autoencoder before, of a model of its codes
    loss: str = "x0"  # … and what its error is weighted by: see `gencls.training.drivers.LOSSES`
    text_layers: int = 2  # of its text encoder; with none a category is looked up, as by its index
    sentences: bool = False  # whether its captions are varied sentences, not the bare category
    of: str = ""  # whose codes a classifier of codes or of noised latents sees
    minutes: float | None = None  # what the number of steps was chosen for, by a probe of the machine

    @property
    def natural(self) -> bool:
        """Whether it learns from photographs."""
        return isinstance(self.world, TinyImageNet)

    @property
    def presentations(self) -> int:
        """Images shown, those of a first stage included; an autoencoder of latents is shown a quarter of a batch."""
        return self.first * (self.batch // 4 if self.kind == "latent" else self.batch) + self.steps * self.batch

    @property
    def generative(self) -> bool:
        """Whether it draws."""
        return self.kind in ("pixel", "latent", "driver", "autoregressive")

    @property
    def prompt(self) -> str:
        """The template that it is asked with."""
        return "{}" if self.kind == "driver" and not self.sentences else PROMPT

    @property
    def side(self) -> int:
        """Pixels a side of its images."""
        return self.pixels if self.natural else 32

    @property
    def magnify(self) -> int:
        """How often a ResNet is shown each pixel, each way: its first layers divide by four, which would leave nothing of a texture at 32 px."""
        return max(1, 64 // self.side)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a classifier answers with: the shapes, or the fine classes by their WordNet ids."""
        if isinstance(self.world, TinyImageNet):
            return tuple(entry.wnid for entry in tiny_imagenet.classes(self.world.count))
        return SHAPES


_RESNET = Recipe("resnet", 24_000, 32, width=64, depth=(2, 2, 2), rate=2e-3)
_CONTROL = replace(_RESNET, steps=9000)
_DRIVER = Recipe("driver", 4000, 32, width=128, rate=2e-3)
_SMALL = Recipe("resnet", 4000, 32, width=32, depth=(2, 2, 2), rate=2e-3)  # as many presentations
_PHOTOGRAPHS = Recipe(
    "pixel", 7500, 64, world=TinyImageNet(), width=320, depth=(3, 3), activation="relu2", sigma_data=0.5, most=8.0,
    rate=1.5e-3,
)  # fmt: skip
_CLASSIFIER = Recipe("resnet", 3000, 64, world=TinyImageNet(), width=128, depth=(2, 3, 4), rate=2e-3)
_CODES = replace(_CLASSIFIER, kind="codes", width=192, depth=(6,), rate=1e-3, patch=1)
_SWEEP = replace(_CLASSIFIER, steps=1500, width=64, depth=(2, 2, 2), noise=(0.0, 1.0))
#: What a cue's reliability in training is lowered to, the other one's being 1, and the cycles an image below which frequencies are kept.
RELIABILITIES, LOW_PASSES = (0.5, 0.75), (2, 4, 8, 16)
_UNRELIABLE = {f"shape-{share:g}": ShapesWorld(shape_reliability=share) for share in RELIABILITIES}
_UNRELIABLE |= {f"texture-{share:g}": ShapesWorld(texture_reliability=share) for share in RELIABILITIES}

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
    "drivers/index": replace(_DRIVER, text_layers=0),
    "drivers/sentences": replace(_DRIVER, sentences=True),
    **{f"drivers/cosine-x0-{cue}": replace(_DRIVER, world=world) for cue, world in _UNRELIABLE.items()},
    **{f"drivers/resnet-{cue}": replace(_SMALL, world=world) for cue, world in _UNRELIABLE.items()},
    **{f"drivers/resnet-below-{below}": replace(_SMALL, world=ShapesWorld(low_pass=below)) for below in LOW_PASSES},
    "shapes/ar": Recipe("autoregressive", 1500, 64, width=128, depth=(4,), patch=4, first=600),
    "natural/pixel": _PHOTOGRAPHS,
    "natural/latent": Recipe("latent", 10_000, 64, world=TinyImageNet(), width=96, first=4000, most=6.0),
    "natural/resnet": _CLASSIFIER,
    "natural/resnet-noise": replace(_CLASSIFIER, noise=(0.0, 1.0)),
    "natural/pixel32": replace(_PHOTOGRAPHS, pixels=32),
    "natural/resnet32": replace(_CLASSIFIER, pixels=32),
    "natural/vit": replace(_CLASSIFIER, kind="vit", width=192, depth=(6,), rate=1e-3),
    "natural/tokens": replace(_CODES, of="natural/ar", patch=2),
    "natural/tokens8": replace(_CODES, of="natural/ar8"),
    "natural/latent-classifier": replace(_CODES, of="natural/latent"),
    "natural/clip": replace(_CLASSIFIER, kind="clip", steps=1500, batch=128, width=192, depth=(6,), rate=1e-3),
    "natural/denoising-classifier": replace(
        _CLASSIFIER, kind="noised-classifier", steps=7500, width=256, depth=(5,), activation="relu2", rate=1e-3
    ),
    "natural/latent-denoising-classifier": replace(
        _CLASSIFIER, kind="noised-classifier", steps=10_000, rate=1e-3, of="natural/latent"
    ),
    "natural/ar8": Recipe("autoregressive", 1000, 128, world=TinyImageNet(), width=256, depth=(6,), first=500),
    "natural/ar": Recipe("autoregressive", 3000, 32, world=TinyImageNet(), width=192, depth=(6,), patch=4, first=2000),
    "sweep/clean": replace(_SWEEP, noise=None),
    **{f"sweep/gamma-{low:g}": replace(_SWEEP, noise=(low, 1.0)) for low in (0.9, 0.75, 0.5, 0.25, 0.0)},
    **{f"sweep/share-{share:g}": replace(_SWEEP, noised=share) for share in (0.25, 0.5, 0.75)},
}


def recipe(model: str) -> Recipe:
    """The recipe of `shapes/pixel`, or of another training seed of it, `shapes/pixel@1`."""
    name, at, seed = model.partition("@")
    if name not in RECIPES or (at and not seed.isdecimal()):
        raise GenclsError(
            f"no recipe for {model!r}; known are {', '.join(RECIPES)}, each with @1, @2, … for another seed"
        )
    return replace(RECIPES[name], seed=int(seed or 0))


def train(
    model: str,
    out: Path,
    cache: Path | None = None,
    given: Recipe | None = None,
    snapshots: int = 0,
    minutes: float | None = None,
    presentations: int | None = None,
    device: str = "auto",
) -> Path:
    """Train a model and write its folder: an ordinary diffusers or transformers folder with a model card.

    A run that was killed is taken up again from its last checkpoint, `<out>.checkpoint`, by the same call. The folder
    stands there whole or not at all; GenclsError where `out` holds anything but an earlier model. `cache`: where the
    training photos are kept between runs. `snapshots`: how many models are kept along a classifier's training, after a half of
    its steps, a quarter, an eighth …, in `<out>-<steps>`; of a generative model what it draws is, after a quarter, a half and all of them, in
    `<out>-samples/`. `minutes`: as many steps as this machine can do in them, in the place of the recipe's number; found once, by a
    probe, so that a run that is taken up again keeps its number. `presentations`: about so many images in the place of the recipe's number,
    shared among the stages as there. `device`: as `gencls.models.devices.choose` takes it.
    """
    where = choose(device)
    plan = given or recipe(model)
    if presentations is not None:
        plan = _scaled(model, plan, presentations, minutes)
    if minutes is not None and plan.first:
        raise GenclsError(f"{model} is trained in two stages, whose steps its recipe fixes; leave --minutes out")
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise GenclsError(f"a training of {minutes} minutes never ends, or never begins; give a number of minutes")
    if snapshots and plan.generative:
        raise GenclsError(
            f"{model} makes images: what it draws is kept along its training, no models; leave --snapshots out"
        )
    vacant(out)
    with alone(out, f"another run is training {out} at this moment; wait for it, or name another folder"):
        return _train(model, out, plan, cache, snapshots, minutes, where)


def _train(
    model: str, out: Path, plan: Recipe, cache: Path | None, snapshots: int, minutes: float | None, where: torch.device
) -> Path:
    """`train` with all that was asked for checked, and nobody else in its folder."""
    photos = pool(plan.world, plan.photos, cache, plan.side)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if minutes is not None:
        plan = _begun(checkpoint, plan) or _affordable(model, plan, minutes, photos, where)

    def snapshot(saved: Any, step: int, seconds: float) -> None:
        publish(model, replace(plan, steps=step), saved, seconds, along(step), where)

    def along(step: int) -> Path:
        return out.with_name(f"{out.name}-{step}")

    def draw(saved: Any, step: int, _: float) -> None:
        _draw(saved, plan, out, step)

    looks: dict[int, Look] = dict.fromkeys((plan.steps // 2**k for k in range(1, snapshots + 1)), snapshot)
    for step in looks:
        vacant(along(step))
    if plan.generative:
        looks = dict.fromkeys((plan.steps // 4, plan.steps // 2), draw)
    saved, seconds = _learnt(model, plan, photos, checkpoint, looks, where)
    done = publish(model, plan, saved, seconds, out, where)
    if plan.generative:
        _draw(saved, plan, out, plan.steps)
    for path in (checkpoint, checkpoint.with_name(checkpoint.name + "-first")):
        path.unlink(missing_ok=True)
    return done


def _learnt(
    model: str,
    plan: Recipe,
    photos: Photos | Photographs,
    checkpoint: Path,
    looks: Mapping[int, Look],
    device: torch.device,
    watch: Callable[[int, float], object] | None = None,
) -> tuple[Any, float]:
    """What was trained, and the seconds that it took; after so many steps each of `looks` is shown it. `watch` as in `Run`."""
    from gencls.training.autoregressive import janus, train_autoregressive
    from gencls.training.classifiers import resnet, train_on_labels, vit
    from gencls.training.clip import clip, train_clip
    from gencls.training.drivers import classifier, latent_classifier, train_classifier, train_generator
    from gencls.training.latent import latent_pipeline, train_latent
    from gencls.training.loop import Run
    from gencls.training.pixel import PHOTO_TEXTS, SHAPE_TEXTS, pipeline, train_pixel

    size: dict[str, Any] = {"width": plan.width, "patch_size": plan.patch, "side": plan.side}
    saved: Any
    along = {step: lambda seconds, step=step, look=look: look(saved, step, seconds) for step, look in looks.items()}
    run = Run(plan.steps, plan.batch, plan.seed, checkpoint, model, json.dumps(asdict(plan)), along, device, watch)
    if plan.kind in ("pixel", "driver"):
        trunk, text = plan.depth
        texts = PHOTO_TEXTS if plan.natural else SHAPE_TEXTS
        size |= {"activation": plan.activation, "sigma_data": plan.sigma_data, "text_layers": plan.text_layers}
        saved = pipeline(plan.seed, **size, trunk_depth=trunk, text_depth=text, noise=plan.schedule, texts=texts)
    if plan.kind == "pixel":
        seconds = train_pixel(saved, photos, run, most=plan.most, rate=plan.rate, fast=plan.natural)
    elif plan.kind == "latent":
        saved = latent_pipeline(plan.seed, width=plan.width, side=plan.side)
        seconds = train_latent(saved, photos, run, first=plan.first, most=plan.most, rate=plan.rate)
    elif plan.kind == "driver":
        seconds = train_generator(saved, photos, run, loss=plan.loss, sentences=plan.sentences)
    elif plan.kind == "clip":
        saved = clip(plan.seed, depth=sum(plan.depth), **size)
        seconds = train_clip(saved, photos, run, rate=plan.rate, fast=plan.natural)
    elif plan.kind == "autoregressive":
        texts = PHOTO_TEXTS if plan.natural else SHAPE_TEXTS
        grid = plan.side // plan.patch
        saved = janus(plan.seed, width=plan.width, depth=sum(plan.depth), side=plan.side, grid=grid, texts=texts)
        seconds = train_autoregressive(saved, photos, run, first=plan.first)
    elif plan.kind == "noised-classifier" and plan.of:
        codes = _codes(plan.of, photos, str(device))
        reader: Any = codes.reader
        saved = latent_classifier(plan.seed, reader.pipeline.unet.config, plan.labels)
        alphas = reader.pipeline.scheduler.alphas_cumprod
        seconds = train_classifier(saved, codes, run, alphas=alphas, rate=plan.rate)
    elif plan.kind == "noised-classifier":
        saved = classifier(plan.seed, depth=sum(plan.depth), labels=plan.labels, activation=plan.activation, **size)
        seconds = train_classifier(saved, photos, run, rate=plan.rate, fast=plan.natural)
    else:
        learnt: Labelled = photos
        if plan.kind == "vit":
            saved = vit(plan.seed, depth=sum(plan.depth), labels=plan.labels, **size)
        elif plan.kind == "codes":
            learnt = _codes(plan.of, photos, str(device))
            size |= {"side": learnt.side, "channels": learnt.channels}
            saved = vit(plan.seed, depth=sum(plan.depth), labels=plan.labels, **size)
        else:
            groups = plan.width // 8 if plan.natural else None
            saved = resnet(plan.seed, plan.width, plan.depth, plan.labels, groups)
        seen: dict[str, Any] = {"noise": plan.noise, "noised": plan.noised, "magnify": plan.magnify}
        seconds = train_on_labels(saved, learnt, run, rate=plan.rate, fast=plan.natural, **seen)
    return saved, seconds


@lru_cache(maxsize=1)
def _codes(of: str, photos: Photos | Photographs, device: str) -> Codes:
    """What another model makes of the photos: minutes of work, which a probe of the machine leaves to the training."""
    from gencls.models.codes import open_reader
    from gencls.training.classifiers import Codes

    return Codes(open_reader(of, "a classifier", device), photos)


def _begun(checkpoint: Path, plan: Recipe) -> Recipe | None:
    """The plan of a run that was stopped: this one, with the number of steps that was fixed then."""
    from gencls.training.loop import opened

    if not checkpoint.exists():
        return None
    was = json.loads(opened(checkpoint)["recipe"])
    return replace(plan, **{name: was.get(name, getattr(plan, name)) for name in ("steps", "minutes")})


def _scaled(model: str, plan: Recipe, presentations: int, minutes: float | None) -> Recipe:
    """The plan with about so many presentations, each stage's share as it was."""
    if minutes is not None:
        raise GenclsError(f"{model} is given a budget in minutes and one in presentations; leave one of them out")
    times = presentations / plan.presentations
    first, steps = round(plan.first * times), round(plan.steps * times)
    if steps < 1 or (plan.first and first < 1):
        raise GenclsError(
            f"{presentations} presentations are no whole step of each stage of {model}; its recipe has {plan.presentations:,}"
        )
    return replace(plan, first=first, steps=steps)


def _affordable(model: str, plan: Recipe, minutes: float, photos: Photos | Photographs, device: torch.device) -> Recipe:
    """The plan with as many steps as fit into the minutes, from the time that one takes in the midst of a training.

    Compiling, checkpoints, pictures and the examination at the end come on top.
    """
    times: list[tuple[int, float]] = []

    class Enough(Exception):
        pass

    def watch(step: int, seconds: float) -> None:
        if step >= 3:
            times.append((step, seconds))
            if seconds - times[0][1] > PROBE_SECONDS:
                raise Enough

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        _learnt(f"{model} (probe)", replace(plan, steps=10_000), photos, Path(folder) / "checkpoint", {}, device, watch)
    (first, start), (last, end) = times[0], times[-1]
    return replace(plan, steps=max(1, int(60 * minutes * (last - first) / (end - start))), minutes=minutes)


def _draw(saved: Any, plan: Recipe, out: Path, step: int) -> None:
    """What a generative model draws after so many steps, beside its folder."""
    from gencls.categories import prompts
    from gencls.training.samples import sheet

    folder = out.with_name(out.name + "-samples")
    folder.mkdir(parents=True, exist_ok=True)
    names = tiny_imagenet.NATURAL if plan.natural else SHAPES
    template = "{}" if plan.prompt == "{}" else "a photo of a {}"
    page = sheet(saved, prompts(names, template, articles=not plan.natural), plan.seed)  # as the captions have it
    page.save(folder / f"{step:06d}.png")
