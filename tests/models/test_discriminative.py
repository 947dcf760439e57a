"""Classifiers: normalised answers, and EfficientNet-Lite0's known decisions on the real cue-conflict stimuli."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gencls.errors import GenclsError
from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers
from gencls.models import weights, zoo
from gencls.models.discriminative import DiscriminativeModel
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


def test_noise_is_mixed_in_by_the_roots_of_its_share_and_of_the_images() -> None:
    """A white image with 36% of noise ε = 0.5: 0.8·1 + 0.6·0.5, then scaled as the network wants it."""
    seen: list[torch.Tensor] = []
    network = torch.nn.Conv2d(3, 1, 1)
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model = DiscriminativeModel(network, "net", ["a"], 4, noise=0.36)
    model.output([np.full((4, 4, 3), 255, np.uint8)], torch.full((1, 3, 4, 4), 0.5))
    np.testing.assert_allclose(seen[0], (255 * (0.8 + 0.6 * 0.5) - 127.5) / 127.5, rtol=1e-6)


@pytest.mark.slow
def test_efficientnet_lite0_decides_as_known(mirror: Path) -> None:
    """197 shape and 622 texture decisions of the 1,200 whose cues differ: computed elsewhere from the same files."""
    from gencls.stimuli.benchmark import stimuli

    conflicts = stimuli("cue-conflict")
    given = np.array(answers(score(zoo.open_model("pypi:efficientnet-lite0"), conflicts, progress=False)))
    table = conflicts.table[(conflicts.table["category"] != conflicts.table["texture"]).to_numpy()]
    given = given[table.index]
    assert len(table) == 1200
    assert int((given == table["category"].to_numpy(str)).sum()) == 197
    assert int((given == table["texture"].to_numpy(str)).sum()) == 622
