"""Number types of half the size: recorded, near float32, and refused where they break."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.models import numbers, tiny
from gencls.models.diffusion import DiffusionModel
from gencls.stimuli.sets import StimulusSet

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
TABLE = pd.DataFrame({"name": ["a", "b"], "category": "", "condition": "", "texture": ""})
STIMULI = StimulusSet("two", TABLE, lambda i: PICTURES[i], ("cat", "dog"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_scores_are_near_those_of_float32_and_say_their_type(dtype: str, tolerance: float) -> None:
    """Seven bits after the point, or ten: errors of x₀ agree to 5%, or 1%."""
    exact, rounded = (
        score(DiffusionModel(tiny.build("sd"), "tiny", dtype=d), STIMULI, plan=Exhaustive(2), progress=False)
        for d in ("float32", dtype)
    )
    assert rounded.attrs["dtype"] == dtype
    np.testing.assert_allclose(rounded["error"], exact["error"], rtol=tolerance)
    assert not np.array_equal(rounded["error"], exact["error"])


def test_auto_is_what_the_probe_finds_and_nonsense_is_refused() -> None:
    assert f"torch.{numbers.choose('auto', 'cpu', 'tiny')}" == str(numbers.training_dtype())
    with pytest.raises(GenclsError, match=r"tiny: number type 'int8' is not float32.*auto"):
        numbers.choose("int8", "cpu", "tiny")


def test_a_network_that_answers_with_nan_is_refused_not_recorded_as_unspent() -> None:
    pipeline = tiny.build("sd")
    torch.nn.init.constant_(pipeline.unet.conv_out.bias, float("nan"))
    with pytest.raises(GenclsError, match="NaN or infinity in float32"):
        score(DiffusionModel(pipeline, "tiny"), STIMULI, plan=Exhaustive(2), progress=False)
