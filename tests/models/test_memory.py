"""Where memory runs out, half as many rows go on, and nothing that was computed is computed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.likelihood.scoring import Model, score
from gencls.models import tiny
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import HubClassifier
from gencls.models.labels import imagenet_labels
from gencls.models.memory import in_passes, ran_out
from gencls.stimuli.sets import StimulusSet

CLASSES = ("cat", "dog", "car", "bear", "clock")
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
TABLE = pd.DataFrame({"name": [f"s{i}" for i in range(5)], "category": "", "condition": "", "texture": ""})
STIMULI = StimulusSet("five", TABLE, lambda i: PICTURES[i], CLASSES)
PLAN = Exhaustive(timesteps=2)


@contextmanager
def _small(network: torch.nn.Module, most: int) -> Iterator[tuple[list[int], list[int]]]:
    """A device with room for `most` rows of this network: the rows of its calls that fitted, and of those that did not."""
    fitted: list[int] = []
    failed: list[int] = []

    def check(_module: Any, args: Any, given: Any) -> None:
        rows = len(next(v for v in (*args, *given.values()) if isinstance(v, torch.Tensor)))
        (fitted if rows <= most else failed).append(rows)
        if rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    handle = network.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield fitted, failed
    finally:
        handle.remove()


def _diffusion(budget: int = 256) -> DiffusionModel:
    return DiffusionModel(tiny.build("sd"), "tiny", budget=budget)


def _score(model: Model, plan: Exhaustive = PLAN) -> xr.Dataset:
    return score(model, STIMULI, plan=plan, progress=False)


@pytest.mark.parametrize("plan", [PLAN, Staged(timesteps=2, keep=(2,))], ids=["exhaustive", "staged"])
@pytest.mark.parametrize("most", [24, 7, 1])
def test_halving_changes_no_score_and_repeats_only_what_failed(plan: Exhaustive, most: int) -> None:
    undisturbed, model = _score(_diffusion(), plan), _diffusion()
    with _small(model.adapter.net, most) as (fitted, failed):
        scores = _score(model, plan)
    np.testing.assert_allclose(scores["error"], undisturbed["error"], rtol=1e-5)
    assert sum(fitted) == int(np.isfinite(undisturbed["error"]).sum())  # every row once
    expected = [25]
    while expected[-1] // 2 > most:
        expected.append(expected[-1] // 2)
    assert failed == expected  # found once, kept for all timesteps
    assert model.budget == expected[-1] // 2


def test_the_pictures_are_encoded_in_passes_too() -> None:
    model = _diffusion()
    whole = model.encode(list(PICTURES))
    with _small(model.pipeline.vae.encoder, 2) as (fitted, failed):
        parts = model.encode(list(PICTURES))
    assert torch.allclose(parts, whole, rtol=1e-5, atol=1e-6)
    assert (fitted, failed) == ([2, 2, 1], [5])


def test_a_model_of_which_not_one_row_fits_is_one_clear_sentence() -> None:
    model = _diffusion()
    with _small(model.adapter.net, 0), pytest.raises(GenclsError, match=r"^tiny: .*memory is too small") as raised:
        _score(model)
    assert "\n" not in str(raised.value)
    assert raised.value.__context__ is None  # no traceback that holds the failed pass's tensors


def test_likelihoods_of_tokens_are_halved_likewise() -> None:
    model = AutoregressiveModel(*_janus())
    undisturbed = _score(model)
    with _small(model.adapter.decoder.layers[0], 5) as (fitted, failed):
        scores = _score(model)
    np.testing.assert_allclose(scores["log_likelihood"], undisturbed["log_likelihood"], rtol=1e-5, atol=1e-5)
    assert failed and sum(fitted) == 25 + len(CLASSES)  # every pair once, and each prompt is read once


def _janus() -> tuple[Any, str, Any]:
    made = tiny.build("janus")
    return made.network, "janus", made.processor


def test_a_classifier_s_pictures_are_halved_likewise() -> None:
    made = tiny.build("resnet")
    model = HubClassifier(made.network, "resnet", dict(enumerate(imagenet_labels())), made.processor)
    undisturbed = _score(model)
    with _small(model.network, 2) as (fitted, failed):
        scores = _score(model)
    np.testing.assert_allclose(scores["log_probability"], undisturbed["log_probability"], rtol=1e-5)
    assert (fitted, failed) == ([2, 2, 1], [5])


def test_what_this_processor_says_when_memory_runs_out_is_understood() -> None:
    def greedy(rows: slice) -> int:
        torch.empty((rows.stop - rows.start) * 2**57, dtype=torch.uint8)
        return rows.stop

    with pytest.raises(GenclsError, match="memory is too small"):
        in_passes(greedy, 4, 4, "greedy")


@pytest.mark.parametrize("words", ["MPS backend out of memory (MPS allocated: 8 GB)", "CUDA error: out of memory"])
def test_other_devices_words_for_it_are_understood(words: str) -> None:
    assert ran_out(RuntimeError(words))


def test_other_errors_are_not_taken_for_it() -> None:
    def broken(rows: slice) -> int:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        in_passes(broken, 4, 4, "broken")
