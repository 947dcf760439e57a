"""What the models draw, and what classifiers take it for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gencls
from gencls.analyses import drawings
from gencls.errors import GenclsError


def test_pictures_are_guided_from_the_same_noise() -> None:
    names = ["cat", "boat"]
    plain, again, guided = (drawings.pictures("natural/latent", names, 0, g)[:, 0] for g in (1.0, 1.0, 4.0))
    assert plain.shape == (2, 64, 64, 3) and plain.dtype == np.uint8
    assert np.array_equal(plain, again) and not np.array_equal(plain, guided)
    alike = [[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in guided] for a in plain]
    assert alike[0][0] > alike[0][1] and alike[1][1] > alike[1][0]
    images, said = drawings.drawn(["natural/latent", "natural/pixel32"], names)
    assert len(images) == 2 and said == ["cat (latent)", "boat (latent)"]  # no weights of the other ship
    with pytest.raises(GenclsError, match="guidance is -3; give 1"):
        drawings.pictures("natural/latent", names, 0, -3)


def test_photographs_are_recognised_and_pictures_beside_them(mirror: Path) -> None:
    sets = drawings.shown(gencls.world("natural"), ["natural/latent"], each=1)
    assert list(sets) == [
        ("photographs", "", 1.0), ("decoded", "natural/latent", 1.0), *(("pictures", "natural/latent", g) for g in drawings.GUIDANCES),
    ]  # fmt: skip
    few = {key: stimuli if key[0] == "pictures" else stimuli[::10] for key, stimuli in sets.items()}
    table = drawings.computed(few)
    assert list(table.columns) == drawings.COLUMNS
    assert table["n"].tolist() == [55, 55, 55, 55, *[11] * 6]
    first = table.set_index(["shown", "observer"])["value"]
    record = (
        drawings.recognised()
        .query("guidance == 1 and artist in ['', 'natural/latent']")
        .set_index(["shown", "observer"])
    )
    for what in ("photographs", "decoded"):
        for judge in drawings.JUDGES:
            assert abs(first[what, judge] - record.loc[(what, judge), "value"]) < 0.2  # a tenth of the stimuli
    assert (first["photographs"] > 0.5).all() and (first["decoded"] < first["photographs"]).all()
