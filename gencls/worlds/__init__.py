"""Worlds: categories, stimulus sets and observers that belong together, and their scores on record."""

from __future__ import annotations

from gencls.errors import GenclsError
from gencls.worlds.base import (
    NOISE_SEEDS,
    PROMPTS,
    RECORDS,
    SEEDS,
    WEIGHTS_OF_SEEDS,
    Scored,
    World,
    joint,
    record_name,
    seeds_of,
    weights_of,
)
from gencls.worlds.full import Full, missing
from gencls.worlds.natural import REAL_SETS, Natural
from gencls.worlds.shapes import COUNTS, Shapes

__all__ = [
    "COUNTS", "NOISE_SEEDS", "PROMPTS", "REAL_SETS", "RECORDS", "SEEDS", "WEIGHTS_OF_SEEDS", "WORLDS", "Full", "Natural",
    "Scored", "Shapes", "World", "joint", "missing", "open_world", "record_name", "seeds_of", "weights_of",
]  # fmt: skip

WORLDS = {"shapes": Shapes, "natural": Natural, "full": Full}


def open_world(name: str, **settings: object) -> World:
    """A world by its name; the shapes world takes ShapesWorld's settings."""
    if name not in WORLDS:
        raise GenclsError(f"no world {name!r}; there are {', '.join(WORLDS)}")
    try:
        return WORLDS[name](**settings)
    except TypeError as error:
        hint = "see ShapesWorld's settings" if name == "shapes" else "only the shapes world has settings"
        raise GenclsError(f"world {name!r}: {str(error).partition('() ')[2] or error}; {hint}") from error
