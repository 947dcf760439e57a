"""gencls: generative image models as zero-shot classifiers, measured with human psychophysics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gencls.errors import GenclsError

if TYPE_CHECKING:
    from gencls.classify import Observer
    from gencls.worlds import World

__version__ = "0.1.0"
__all__ = ["GenclsError", "__version__", "load", "world"]
#: Modules that `import gencls` is enough for.
_MODULES = ("figures", "metrics", "stimuli", "trials")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"gencls.{name}")
    raise AttributeError(f"module 'gencls' has no attribute {name!r}")


def load(model: str, allow_pickles: bool = False, **options: Any) -> Observer:
    """An observer by its id (`gencls models` lists them), `hf:REPO[@REVISION]` of the hub, or the path of a local folder.

    `allow_pickles`: take weights that are not there as safetensors, too; opening a pickle can run code. `options`: `device`, `dtype`,
    `offload`, `resolution`, `crop` and `compile`, as `gencls.models.zoo.open_model` has them, and `engine`, `workers` and `address` for a Ray cluster.

    >>> gencls.load("shapes/pixel").classify(images, classes=["star", "heart"])  # doctest: +SKIP
    """
    from inspect import signature

    from gencls.classify import Observer
    from gencls.models import zoo

    known = {*signature(zoo.open_model).parameters, *signature(Observer).parameters} - {"model", "options"}
    if unknown := sorted(options.keys() - known):
        raise GenclsError(f"load has no option {', '.join(map(repr, unknown))}; there are {', '.join(sorted(known))}")
    return Observer(model, allow_pickles, **options)


def world(name: str, **settings: Any) -> World:
    """A world by its name, `shapes`, `natural` or `full`: categories, stimulus sets and observers that belong together."""
    from gencls.worlds import open_world

    return open_world(name, **settings)
