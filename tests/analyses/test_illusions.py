"""Do the gains say what they claim? Known answers, and the page's sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import gencls
from gencls.analyses import illusions
from gencls.errors import GenclsError
from gencls.metrics import Estimate


def scores(errors: list[float], n: int = 6) -> xr.Dataset:
    """n alike stimuli with these errors of the classes a, b, c, d; the readings are a and b."""
    same = {"condition": "vase", "category": "a", "texture": "b"}
    return xr.Dataset(
        {"error": (("stimulus", "class", "t", "draw"), np.tile(np.array(errors)[None, :, None, None], (n, 1, 1, 1)))},
        coords={"class": list("abcd"), "t": [0.5], "log_snr": ("t", [0.0]), "quadrature": ("t", [1.0])}
        | {k: ("stimulus", [v] * n) for k, v in same.items()},
    )


def test_a_gain_is_the_share_of_the_controls_error_that_a_reading_saves() -> None:
    found = illusions.gains(scores([6.0, 9.5, 8.0, 12.0]), "uniform")
    first, second = found[found["stimulus"] == 0].to_dict("records")
    assert (first["mean"], first["best"]) == pytest.approx((40.0, 20.0))
    assert (second["mean"], second["best"]) == pytest.approx((5.0, -15.0))  # better than the mean, not than the best
    mean = illusions.differences(scores([6.0, 9.5, 8.0, 12.0]), "uniform")["vase", "first"]
    assert (mean.value, mean.low, mean.high, mean.n) == pytest.approx((40.0, 40.0, 40.0, 6))
    assert np.isnan(illusions.differences(scores([6.0, 9.5, 8.0, 12.0], 4), "uniform")["vase", "first"].low)


def test_the_scale_of_the_errors_does_not_matter() -> None:
    a, b = (illusions.gains(scores([k * e for e in (6.0, 9.5, 8.0, 12.0)]), "uniform") for k in (1, 7))
    assert np.allclose(a[["mean", "best"]], b[["mean", "best"]])


def test_the_verdict_claims_no_more_than_the_intervals() -> None:
    above, across, below = Estimate(2, 1, 3), Estimate(2, -1, 5), Estimate(-2, -3, -1)
    said = illusions.verdict({("vase", "first"): above, ("vase", "second"): across})
    assert "only what is cut out helps" in said and "does not differ" in said
    assert "both readings help" in illusions.verdict({("vase", "first"): above, ("vase", "second"): above})
    said = illusions.verdict({("vase", "first"): below, ("vase", "second"): across})
    assert "no reading helps" in said and "worse than the controls" in said


def test_own_pictures_are_asked_about_their_own_readings(tmp_path: Path) -> None:
    some = gencls.world("shapes").stimuli("illusions", 2)
    for i in range(2):
        Image.fromarray(some[i].image).save(tmp_path / f"{i}.png")
    seen = illusions.look(
        gencls.world("full"),
        ["shapes/resnet"],
        pictures=[str(tmp_path)],
        readings=["star", "ring"],
        controls=["fish", "tree"],
    )
    odds = illusions.probability(seen, "shapes/resnet")
    assert set(odds) == {(illusions.OWN, what) for what in ("first", "second", "both")}
    assert odds[illusions.OWN, "both"] == pytest.approx(odds[illusions.OWN, "first"] + odds[illusions.OWN, "second"])
    with pytest.raises(GenclsError, match="two readings"):
        illusions.look(gencls.world("full"), pictures=[str(tmp_path)], readings=["star"], controls=["fish", "tree"])


def test_a_gain_that_changes_sides_under_another_wording_is_named() -> None:
    rows = [
        ("vase", "first", "a {}", 2.0, 1.0, 3.0),
        ("vase", "first", "{}", -2.0, -3.0, -1.0),
        ("vase", "first", "the {}", -2.0, -5.0, 1.0),
    ]
    worded = pd.DataFrame(rows, columns=["kind", "reading", "prompt", "value", "low", "high"])
    said = illusions.reworded(worded)
    assert (
        "vase, first reading: -2.0 [-3.0, -1.0] against +2.0 [1.0, 3.0] under the bare name." in said
        and "the …" not in said
    )
    assert illusions.reworded(worded[worded["prompt"] != "{}"]).startswith("No gain")
