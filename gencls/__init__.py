"""gencls: generative image models as zero-shot classifiers, measured with human psychophysics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gencls.errors import GenclsError

if TYPE_CHECKING:
    from gencls.classify import Observer
    from gencls.worlds import World

__version__ = "0.1.0"
__all__ = ["GenclsError", "__version__", "load", "world"]


def load(model: str) -> Observer:
    """An observer by its id (`gencls models` lists them) or the path of a local folder.

    >>> gencls.load("shapes/pixel").classify(images, classes=["star", "heart"])  # doctest: +SKIP
    """
    from gencls.classify import Observer

    return Observer(model)


def world(name: str, **settings: Any) -> World:
    """A world by its name, `shapes` or `full`: categories, stimulus sets and observers that belong together."""
    from gencls.worlds import open_world

    return open_world(name, **settings)
