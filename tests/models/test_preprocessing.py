"""A pipeline's preprocessing: its own is recorded, another is another observer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gencls
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.models import tiny
from gencls.models.diffusion import DiffusionModel
from gencls.stimuli.sets import StimulusSet

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
TABLE = pd.DataFrame({"name": ["a"], "category": "", "condition": "", "texture": ""})
STIMULI = StimulusSet("one", TABLE, lambda i: PICTURE, ("cat", "dog"))


def test_the_models_own_is_in_the_record_in_words() -> None:
    scores = score(DiffusionModel(tiny.build("sd3"), "tiny"), STIMULI, plan=Exhaustive(1), progress=False)
    words = "central square, bicubic to 32, value / 127.5 - 1, the VAE's mean, (mean - 0.0609) * 1.5305"
    assert scores.attrs["preprocessing"] == words
    assert scores.attrs["model"] == "tiny"


def test_another_resolution_is_seen_and_told_to_the_network() -> None:
    model = DiffusionModel(tiny.build("sdxl"), "tiny", resolution=48)
    assert model.encode([PICTURE]).shape == (1, 4, 24, 24)
    assert model.conditions(["a cat"])["time_ids"].tolist() == [[48, 48, 0, 0, 48, 48]]
    assert model.name == "tiny (48 pixels)" and "bicubic to 48" in model.preprocessing


def test_without_a_crop_the_borders_count() -> None:
    cropped, whole = (DiffusionModel(tiny.build("deepfloyd"), "tiny", crop=crop) for crop in (True, False))
    other = PICTURE.copy()
    other[:, :8] = 255 - other[:, :8]
    assert torch.equal(cropped.encode([PICTURE]), cropped.encode([other]))
    assert not torch.equal(whole.encode([PICTURE]), whole.encode([other]))
    assert whole.encode([PICTURE]).shape == cropped.encode([PICTURE]).shape
    assert whole.name == "tiny (whole image)" and whole.preprocessing.startswith("whole image")


def test_a_record_under_another_preprocessing_is_not_taken(tmp_path: Path) -> None:
    path, pipeline = tmp_path / "tiny.zarr.zip", tiny.build("deepfloyd")
    score(DiffusionModel(pipeline, "tiny"), STIMULI, plan=Exhaustive(1), record=path, progress=False)
    for change in ({"resolution": 24}, {"crop": False}):
        with pytest.raises(GenclsError, match=r"made with model 'tiny', not 'tiny \("):
            model = DiffusionModel(pipeline, "tiny", **change)  # type: ignore[arg-type]
            score(model, STIMULI, plan=Exhaustive(1), record=path, progress=False)


def test_what_cannot_be_changed_is_said() -> None:
    with pytest.raises(GenclsError, match="30 pixels a side, only its own 32 or multiples of 16"):
        DiffusionModel(tiny.build("sd"), "tiny", resolution=30)
    with pytest.raises(GenclsError, match="64 pixels a side, only its own 32"):
        gencls.load("shapes/pixel", resolution=64)
    with pytest.raises(GenclsError, match="preprocessor_config"):
        gencls.load("shapes/resnet", resolution=64)
