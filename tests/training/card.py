"""Every kind of training, and a classifier of noised images, on the processor and on a card that there is none of: run by test_card.py in a process of its own.

The card is a device of PyTorch's own making (`privateuse1`) whose tensors are computed on the processor. What a real one refuses it
refuses: an operation on a tensor of its own and one of the processor's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from gencls.models.noised import NoisedClassifier
from gencls.models.pixel import cosine_schedule
from gencls.stimuli import tiny_imagenet
from gencls.training import loop, recipes
from gencls.training.data import Photographs
from gencls.training.drivers import classifier
from gencls.training.recipes import RECIPES, Recipe

ATEN, CPU, CARD = torch.ops.aten, torch.device("cpu"), "card"
MOVES = (ATEN._to_copy.default, ATEN.copy_.default)
RATE = 5e-4  # the lowest of these trainings: a step changes a weight by about as much
TINY = {"steps": 3, "batch": 4, "width": 64, "pixels": 32}
PLANS = {
    "natural/pixel": {"depth": (1, 1)},
    "natural/latent": {"width": 48, "first": 2},
    "natural/ar": {"depth": (1,), "first": 2},
    "natural/clip": {"depth": (1,)},
    "natural/resnet-noise": {"depth": (1, 1), "noised": 0.5},
    "natural/denoising-classifier": {"depth": (1,)},
    "drivers/sentences": {},
}


class Driver(_DummyBackendModule):
    """What `torch.card` knows."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float32, torch.bfloat16]


class OnCard(Tensor):
    """A tensor that says it is on the card; `inner` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnCard:
        said = {"strides": inner.stride(), "dtype": inner.dtype, "device": torch.device(CARD, 0)}
        made = Tensor._make_wrapper_subclass(cls, inner.shape, **said)
        made.inner = inner
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # a checkpoint holds the numbers

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class Machine(TorchDispatchMode):
    """While it is on, there is the card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


def dispatched(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """One operation: its numbers computed on the processor, its result where a card would leave it."""
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    cards = {id(t.inner): t for t in tensors if isinstance(t, OnCard)}
    strange = any(not isinstance(t, OnCard) and t.dim() for t in tensors)  # single numbers may come from the processor
    if cards and strange and func not in MOVES:
        raise RuntimeError(f"{func} of tensors on the card and on the processor")
    wanted = kwargs.get("device")
    there = (
        wanted.type == CARD if isinstance(wanted, torch.device) else isinstance(tensors[0], OnCard) if cards else False
    )
    inner_args, inner_kwargs = pytree.tree_map_only(OnCard, lambda t: t.inner, (args, kwargs))
    if there and wanted is not None:
        inner_kwargs = {**inner_kwargs, "device": CPU}
    found = func(*inner_args, **inner_kwargs)
    if not there:
        return found
    return pytree.tree_map_only(Tensor, lambda t: cards[id(t)] if id(t) in cards else OnCard(t), found)


class Few(Photographs):
    """Twenty random images in the place of photographs."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (20, 32, 32, 3), generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(20) % 16
        self.classes = tiny_imagenet.classes(26)


def parts(saved: Any) -> dict[str, nn.Module]:
    """The networks of what was trained."""
    if isinstance(saved, nn.Module):
        return {"": saved}
    return {n: p for n, p in getattr(saved, "components", vars(saved)).items() if isinstance(p, nn.Module)}


def trained(name: str, plan: Recipe, device: str, checkpoint: Path) -> dict[str, Tensor]:
    """Every weight after a training; along it, and at its end, the networks are on the processor."""

    def look(saved: Any, step: int, seconds: float) -> None:
        assert all(w.device == CPU for part in parts(saved).values() for w in part.parameters())

    saved, _ = recipes._learnt(name, plan, Few(), checkpoint, {2: look}, torch.device(device))
    look(saved, 0, 0.0)
    found = {f"{n}.{key}": w for n, part in parts(saved).items() for key, w in part.state_dict().items()}
    # Another name of the text's embeddings, as long as no parameter is put into the place of another.
    found.pop("network.lm_head.weight", None)
    return found


def asked(device: str) -> Tensor:
    """What a classifier of noised images answers, its network on a device."""
    model = NoisedClassifier(classifier(0, 64, depth=1).to(device), "some", cosine_schedule().alphas_cumprod)
    x0 = model.encode(list(Few().images[:2].numpy()))
    given = (torch.full((2,), 0.5), torch.arange(2).expand(2, -1), model.asked(model.classes[:2]))
    return model.errors(x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), *given)


def main() -> None:
    _setup_privateuseone_for_python_backend(CARD, Driver())
    # A tensor of a subclass cannot take the place of a plain one; a new parameter can.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    loop.shutil.which = lambda _: None  # nothing is compiled
    loop.training_dtype = lambda _: torch.float32
    for name, changes in PLANS.items():
        plan = replace(RECIPES[name], **{**TINY, **changes})
        with tempfile.TemporaryDirectory() as folder:
            here = trained(name, plan, "cpu", Path(folder) / "here")
            with Machine():
                there = trained(name, plan, CARD, Path(folder) / "there")
                # From the checkpoint: nothing is left to learn.
                again = trained(name, plan, CARD, Path(folder) / "there")
        assert here.keys() == there.keys() and all(torch.equal(again[key], there[key]) for key in there), name
        off = torch.cat([(there[key] - here[key]).flatten().float() for key in here]).square().mean().sqrt().item()
        assert off < RATE / 20, f"{name}: weights off by {off:.1e}, in the mean square"
        print(f"{name} {off:.1e}")
    here = asked("cpu")
    with Machine():
        assert torch.allclose(asked(CARD), here, atol=1e-5)


if __name__ == "__main__":
    main()
