"""What the models draw, and what classifiers take it for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import gencls
from gencls.analyses import drawings


def test_pictures_are_guided_from_the_same_noise() -> None:
    names = ["cat", "boat"]
    plain, again, guided = (drawings.pictures("natural/latent", names, 0, g)[:, 0] for g in (1.0, 1.0, 4.0))
    assert plain.shape == (2, 64, 64, 3) and plain.dtype == np.uint8
    assert np.array_equal(plain, again) and not np.array_equal(plain, guided)
    alike = [[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in guided] for a in plain]
    assert alike[0][0] > alike[0][1] and alike[1][1] > alike[1][0]
    images, said = drawings.drawn(["natural/latent", "natural/pixel32"], names)
    assert len(images) == 2 and said == ["cat (latent)", "boat (latent)"]  # no weights of the other ship


def test_photographs_are_recognised_and_pictures_beside_them(mirror: Path) -> None:
    table = drawings.computed(gencls.world("natural"), ["natural/latent"], each=1)
    assert list(table.columns) == drawings.COLUMNS
    assert len(table) == (1 + len(drawings.GUIDANCES)) * len(drawings.JUDGES)
    photographs = table[table["artist"] == ""].set_index("observer")
    record = drawings.recognised().query("artist == ''").set_index("observer")
    assert (photographs["n"] == 550).all() and (table[table["artist"] != ""]["n"] == 11).all()
    for judge in drawings.JUDGES:
        assert abs(photographs.loc[judge, "value"] - record.loc[judge, "value"]) < 0.01
        assert record.loc[judge, "value"] > 0.4
