"""The mathematics of noise: every prediction type is brought to x̂₀, and known errors come out as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from gencls.errors import GenclsError
from gencls.models.diffusion import DiffusionModel
from gencls.models.pixel import PatchTransformer, PixelPipeline
from gencls.training.pixel import pipeline

TYPES = ("epsilon", "v_prediction", "sample", "flow")
T = [0.001, 0.05, 0.3, 0.5, 0.7, 0.95]


class Oracle(PatchTransformer):
    """Knows the image and the schedule, and predicts x₀ + offset[class], in the scheduler's own target."""

    def __init__(self, kind: str, x0: Tensor, scheduler: Any) -> None:
        super().__init__(sample_size=8, width=64, heads=1, trunk_depth=1, text_depth=1, text_width=96)
        self.kind, self.x0, self.scheduler = kind, x0, scheduler
        self.offset = 0.0

    def trunk(self, sample: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        return sample, timestep

    def head(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        sample, x0 = sample.double(), self.x0.double() + self.offset
        if self.kind == "flow":
            sigma = timestep.double()[:, None, None, None] / self.scheduler.config.num_train_timesteps
            return (sample - x0) / sigma  # ε − x₀ where x_t = (1 − σ)x₀ + σε
        alpha_bar = self.scheduler.alphas_cumprod.double()[timestep][:, None, None, None]
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        epsilon = (sample - alpha * x0) / sigma
        return {"epsilon": epsilon, "v_prediction": alpha * epsilon - sigma * x0, "sample": x0.expand_as(sample)}[
            self.kind
        ]


def _scheduler(kind: str) -> Any:
    if kind == "flow":
        return FlowMatchEulerDiscreteScheduler(shift=3.0)
    return DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=kind, clip_sample=False)


def _model(kind: str, x0: Tensor) -> DiffusionModel:
    parts = pipeline(0, width=64, patch_size=8, trunk_depth=1, text_depth=1)
    scheduler = _scheduler(kind)
    pipe = PixelPipeline(parts.tokenizer, parts.text_encoder, Oracle(kind, x0, scheduler), scheduler)
    return DiffusionModel(pipe, f"oracle/{kind}")


def _errors(model: DiffusionModel, x0: Tensor, t: float) -> tuple[Tensor, Tensor]:
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    conditions = model.conditions(["a photo of a star", "a photo of a heart"])
    return model.errors(x0, noise, torch.tensor([t]), torch.tensor([[0, 1]]), conditions), noise


@pytest.fixture
def x0() -> Tensor:
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("t", T)
def test_the_true_target_has_no_error(kind: str, t: float, x0: Tensor) -> None:
    errors, _ = _errors(_model(kind, x0), x0, t)
    assert errors.shape == (1, 2)
    # Single precision: a rounding of x_t is magnified by 1/α.
    _, alpha, _ = _model(kind, x0).levels([t])
    assert (errors / (3 * 64)).max() < (1e-6 / float(alpha)) ** 2


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("t", T[1:-1])
def test_an_x0_that_is_off_by_a_known_amount_has_that_error(kind: str, t: float, x0: Tensor) -> None:
    model = _model(kind, x0)
    model.pipeline.transformer.offset = 0.25
    errors, _ = _errors(model, x0, t)
    assert torch.allclose(errors, torch.full((1, 2), 3 * 64 * 0.0625, dtype=torch.float64), rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("t", T[1:-1])
def test_errors_of_epsilon_and_v_are_weightings_of_x0_errors(kind: str, t: float, x0: Tensor) -> None:
    from gencls.likelihood.weightings import EPSILON, VELOCITY

    model = _model(kind, x0)
    model.pipeline.transformer.offset = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    errors, noise = _errors(model, x0, t)
    timestep, alpha, sigma = (v.double() for v in model.levels([t]))
    x_t = alpha * x0 + sigma * noise
    prediction = model.pipeline.transformer.head(x_t, timestep.long(), torch.zeros(1))
    target = noise if kind == "epsilon" else alpha * noise - sigma * x0
    own = float((prediction - target).square().sum())
    log_snr = 2 * np.log(float(alpha) / float(sigma))
    factor = (EPSILON if kind == "epsilon" else VELOCITY)(np.array([t]), np.array([log_snr]))
    assert float(errors[0, 0]) * factor[0] == pytest.approx(own, rel=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_levels_are_the_schedulers_own(kind: str, x0: Tensor) -> None:
    model = _model(kind, x0)
    timestep, alpha, sigma = model.levels(T)
    assert timestep.tolist() == [1, 50, 300, 500, 700, 950]
    noised = model.pipeline.scheduler.add_noise(x0.repeat(6, 1, 1, 1), torch.ones(6, 3, 8, 8), timestep)
    ours = alpha[:, None, None, None] * x0 + sigma[:, None, None, None]
    assert torch.allclose(noised, ours, atol=1e-6)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(6))
    assert ((alpha / sigma).diff() < 0).all()


def test_flow_matching_has_t_as_sigma_whatever_the_shift(x0: Tensor) -> None:
    timestep, alpha, sigma = _model("flow", x0).levels(T)
    assert torch.allclose(sigma, torch.tensor(T))
    assert torch.allclose(alpha, 1 - sigma)
    assert torch.allclose(timestep, 1000 * sigma)


def test_images_come_as_minus_one_to_one(x0: Tensor) -> None:
    model = _model("sample", x0)
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0], image[0, 1, 2] = 255, 51
    encoded = model.encode([image])
    assert encoded.shape == (1, 3, 8, 8)
    assert (encoded[0, 0] == 1).all()
    assert (encoded[0, 1] == -1).all()
    assert float(encoded[0, 2, 0, 1]) == pytest.approx(-0.6)


def test_the_trunk_and_the_head_are_the_whole_network() -> None:
    network = pipeline(0, width=64, patch_size=8, trunk_depth=1, text_depth=2).transformer
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    sample, text = torch.randn(3, 3, 32, 32), torch.randn(3, 96)
    t = torch.tensor([5, 500, 900])
    assert torch.equal(network(sample, t, text), network.head(*network.trunk(sample, t), text))
    alone = torch.cat([network(sample[i : i + 1], t[i : i + 1], text[i : i + 1]) for i in range(3)])
    assert torch.allclose(network(sample, t, text), alone, atol=1e-4)
    assert not torch.allclose(network(sample, t, text), network(sample, t, text.flip(0)), atol=1e-3)


def test_padding_says_nothing_in_a_prompt() -> None:
    pipe = pipeline(0, width=64, patch_size=8, trunk_depth=1, text_depth=1)
    pipe.text_encoder.eval()
    with torch.no_grad():
        together = pipe.encode_prompt(["a star", "a low resolution photo of a heart"])
        alone = pipe.encode_prompt(["a star"])
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_what_cannot_be_scored_is_refused(x0: Tensor) -> None:
    with pytest.raises(GenclsError, match="budget"):
        DiffusionModel(_model("sample", x0).pipeline, "x", budget=0)
    other = type("OtherPipeline", (), {})()
    with pytest.raises(GenclsError, match="OtherPipeline"):
        DiffusionModel(other, "x")
