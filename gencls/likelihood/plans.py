"""Plans: which (timestep, draw) pairs are spent on which class, and when a class is dropped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import numpy as np

from gencls.errors import GenclsError


def _spread(n: int, warp: float) -> tuple[float, ...]:
    """n midpoints of (0, 1), denser at low t for warp > 1, where the paper's weighting looks."""
    return tuple(float(x) for x in np.round(((np.arange(n) + 0.5) / n) ** warp, 12))


@dataclass(frozen=True)
class Exhaustive:
    """Every class gets every (t, draw) pair.

    Parameters
    ----------
    timesteps : how many t, in the middle of equal parts of (0, 1)
    draws : noise draws a timestep
    warp : t is raised to this power; above 1 the timesteps are denser at low t, and quadrature weights undo that
    """

    timesteps: int = 16
    draws: int = 1
    warp: float = 1.0

    def __post_init__(self) -> None:
        if self.timesteps < 1 or self.draws < 1 or not self.warp > 0:
            raise GenclsError(
                f"plan: timesteps={self.timesteps}, draws={self.draws}, warp={self.warp}; each must be above 0"
            )

    @property
    def t(self) -> tuple[float, ...]:
        """The t of the plan, in (0, 1), rising."""
        return _spread(self.timesteps, self.warp)

    @property
    def stages(self) -> list[tuple[list[int], int | None]]:
        """[(rows of t spent in this stage, classes kept after it or None for all)]."""
        return [(list(range(self.timesteps)), None)]

    def key(self) -> str:
        """What a record is bound to."""
        return json.dumps({"plan": type(self).__name__, **asdict(self)}, sort_keys=True)


@dataclass(frozen=True)
class Staged(Exhaustive):
    """Elimination in stages (Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier", section 3.3).

    After each stage the classes with the lowest weighted error so far go on, the others are dropped. Each stage's
    timesteps are spread over the whole range.

    Parameters
    ----------
    keep : classes kept after each stage but the last; `timesteps` is divided evenly over len(keep) + 1 stages
    weighting : the weighting that classes are dropped under; a record made so can be read under no other
    """

    keep: tuple[int, ...] = field(default=(5,))
    weighting: str = "exp(-7t)"

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self.keep) + 1
        if self.timesteps < n or any(k < 1 for k in self.keep) or list(self.keep) != sorted(self.keep, reverse=True):
            raise GenclsError(
                f"plan: keep={self.keep} with {self.timesteps} timesteps; give a falling list of classes to keep and "
                "at least one timestep a stage"
            )

    @property
    def stages(self) -> list[tuple[list[int], int | None]]:
        n = len(self.keep) + 1
        return [(list(range(i, self.timesteps, n)), k) for i, k in enumerate((*self.keep, None))]


def quadrature(t: np.ndarray) -> np.ndarray:
    """The share of (0, 1) that each t stands for: the cell of points nearest to it. Sums to 1."""
    if len(t) == 1:
        return np.ones(1)
    edges = np.concatenate([[0.0], (t[1:] + t[:-1]) / 2, [1.0]])
    return np.diff(edges)
