"""A number with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls.errors import GenclsError
from gencls.metrics.bootstrap import DEFAULT, Bootstrap

#: With fewer people than this a mean over people gets no interval: the people are shown as points.
FEWEST_PEOPLE = 5


class Estimate(float):
    """A measured number: a float that also knows its interval, its n and how they came about.

    `value` is the number itself, `low` and `high` its interval (NaN where there is none), `n` what it was
    measured on (trials, decisions or people), `name` what it is, `method` how the interval was made,
    `undefined` whether the number is 0/0 and stands for a convention only. Anything else a measure has to
    say is in `extras` and can be read as an attribute, e.g. `shape_bias(trials).cue_accuracy`.
    """

    value: float
    low: float
    high: float
    n: int
    name: str
    method: str
    undefined: bool
    extras: dict[str, Any]

    def __new__(
        cls,
        value: float,
        low: float = math.nan,
        high: float = math.nan,
        n: int = 0,
        name: str = "",
        method: str = "",
        undefined: bool | None = None,
        **extras: Any,
    ) -> Estimate:
        self = super().__new__(cls, value)
        self.value, self.low, self.high, self.n = float(value), float(low), float(high), int(n)
        self.name, self.method, self.extras = name, method, extras
        self.undefined = math.isnan(self.value) if undefined is None else bool(undefined)
        return self

    def __getattr__(self, name: str) -> Any:
        extras = self.__dict__.get("extras", {})
        if name in extras:
            return extras[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}; it carries {sorted(extras)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.to_dict(extras=False) | {"undefined": self.undefined}, self.extras)

    def to_dict(self, extras: bool = True) -> dict[str, Any]:
        """Plain values: value, low, high, n, name, method, undefined, and the extras (estimates among them
        as dicts)."""
        plain = {k: getattr(self, k) for k in ("value", "low", "high", "n", "name", "method", "undefined")}
        return plain | ({k: _plain(v) for k, v in self.extras.items()} if extras else {})

    def __repr__(self) -> str:
        number = "undefined" if self.undefined and math.isnan(self.value) else f"{self.value:.2f}"
        interval = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        convention = " (undefined, by convention)" if self.undefined and not math.isnan(self.value) else ""
        return f"{number}{interval}{convention}, n = {self.n}"

    __str__ = __repr__


def _again(fields: dict[str, Any], extras: dict[str, Any]) -> Estimate:
    return Estimate(**fields, **extras)


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def to_frame(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Estimates by name as a table: one row each, columns `value, low, high, n, undefined`."""
    fields = ("value", "low", "high", "n", "undefined")
    return pd.DataFrame({k: [getattr(e, k) for e in estimates.values()] for k in fields}, index=list(estimates))


def mean_over_people(people: Mapping[str, float] | Sequence[float], bootstrap: Bootstrap | None = DEFAULT) -> Estimate:
    """The mean of people's values, each person computed alone; the interval is a bootstrap over people.

    `people` maps a person to a value, as `shape_bias(trials, by="subj")` does. `n` is the number of people
    and `points` holds their values. Fewer than five people are not bootstrapped: `low` and `high` are NaN.
    A person whose own value is NaN makes the mean NaN. Source: Geirhos et al. 2019 (the mean of ten
    people's shape biases).
    """
    points = dict(people) if isinstance(people, Mapping) else {str(i): v for i, v in enumerate(people)}
    if not points:
        raise GenclsError("mean over people: nobody is there; pass at least one person's value")
    values = np.array([float(v) for v in points.values()])
    value = values.mean()
    if bootstrap is None or len(values) < FEWEST_PEOPLE or math.isnan(value):
        return Estimate(value, n=len(values), name="mean over people", method="people as points", points=points)
    spread = bootstrap.interval(lambda counts: counts @ values / counts.sum(-1), np.arange(len(values)), len(values))
    return Estimate(
        value,
        spread.low,
        spread.high,
        len(values),
        "mean over people",
        f"{spread.method} over people",
        points=points,
    )
