"""What codes keep: images come back through the shipped autoencoders, and what is on record agrees with the other records."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gencls
from gencls import metrics
from gencls.analyses import bias, coding
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import open_world


def smooth(n: int) -> np.ndarray:
    """Smooth random images, n×64×64×3 uint8."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, 64, mode="bilinear").permute(0, 2, 3, 1)
    return (fine * 255).byte().numpy()


@pytest.mark.parametrize("coder", coding.CODERS)
def test_an_image_comes_back_nearly_and_its_detail_does_not(coder: str) -> None:
    plain = smooth(3)
    fine = np.random.default_rng(0).integers(0, 256, plain.shape, np.uint8)
    back = coding.decoded(list(plain), coder)
    assert back.shape == plain.shape and back.dtype == np.uint8
    assert _lost(back, plain) < 0.6 < 0.8 < _lost(coding.decoded(list(fine), coder), fine)


def _lost(back: np.ndarray, images: np.ndarray) -> float:
    """Squared error as a share of the variance: 1 is a grey image's."""
    return float(((back.astype(float) - images) ** 2).mean() / images.astype(float).var((1, 2, 3)).mean())


def test_recoded_stimuli_are_another_set_of_the_same_trials() -> None:
    table = open_world("natural").stimuli("edge", 2).table
    images = smooth(2)
    whole = StimulusSet("edge", table, lambda i: images[i], open_world("natural").categories)
    shown = coding.recoded(whole, "natural/latent")
    assert shown.name != whole.name and shown.table.equals(whole.table)
    assert np.array_equal(shown[1].image, coding.decoded([images[1]], "natural/latent")[0])


def test_stimuli_as_they_are_agree_with_the_records_of_the_classifiers() -> None:
    rows = coding.on_record().query("coder == ''").set_index(["measure", "observer"])["value"]
    world = gencls.world("natural")
    for name, measure in (("cue-conflict", metrics.shape_bias), ("photos", metrics.accuracy)):
        seen = bias.look(world, name, list(coding.OBSERVERS))
        for observer in coding.OBSERVERS:
            value = float(measure(seen.trials(observer, "exp(-7t)"), bootstrap=None))
            key = ("shape bias" if name == "cue-conflict" else "accuracy", observer)
            assert rows[key] == pytest.approx(value, abs=1e-5)
