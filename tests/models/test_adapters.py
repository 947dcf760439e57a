"""What an adapter hands to the network is what the pipeline itself hands it; known targets have no error.

Each family is a small pipeline of the real diffusers class, with random weights.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
)
from torch import Tensor
from transformers import UMT5Config, UMT5EncoderModel

from gencls.errors import GenclsError
from gencls.likelihood.weightings import EPSILON, VELOCITY
from gencls.models import adapters, tiny
from gencls.models.diffusion import DiffusionModel

FAMILIES = [f for f, made in tiny.FAMILIES.items() if made.__annotations__.get("return") not in (None, "Classifier")]
PROMPTS = ["A bad photo of a knife", "A bad photo of a clock"]


@functools.cache
def _model(family: str) -> DiffusionModel:
    pipeline = tiny.build(family)
    if family.startswith("flux"):
        pipeline.default_sample_size = 16
    return DiffusionModel(pipeline, family, budget=1000)


def _image(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def _noised(model: DiffusionModel, n: int) -> tuple[Tensor, Tensor]:
    """An encoded image and noise, n rows each."""
    x0 = model.encode([_image(model.adapter.size)]).repeat(n, 1, 1, 1)
    return x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))


# -- (1) what the pipeline's own call hands to the network -------------------------------------------------------------


@contextmanager
def _calls(network: torch.nn.Module) -> Iterator[list[dict[str, Tensor]]]:
    """Every call's tensors by the names of the network's arguments, those inside dictionaries too."""
    made: list[dict[str, Tensor]] = []

    def note(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        bound = inspect.signature(network.forward).bind(*args, **kwargs).arguments
        inner = {f"{k}.{name}": v for k, part in bound.items() if isinstance(part, dict) for name, v in part.items()}
        made.append({k: v.clone() for k, v in {**bound, **inner}.items() if isinstance(v, Tensor)})

    handle = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield made
    finally:
        handle.remove()


def _run(model: DiffusionModel, latents: Tensor, seed: int) -> list[dict[str, Tensor]]:
    """Three steps of the pipeline's own sampler, unguided, from these latents."""
    pipe = model.pipeline
    options: dict[str, Any] = {"guidance_scale": 1.0, "num_inference_steps": 3, "height": model.adapter.size}
    accepted = inspect.signature(type(pipe).__call__).parameters
    if "use_resolution_binning" in accepted:
        options["use_resolution_binning"] = False  # square sizes of their own bins stay as they are
    if "latents" in accepted:
        options["latents"] = latents
    if type(pipe).__name__ == "FluxPipeline":
        options["latents"] = pipe._pack_latents(latents, *latents.shape)
    options["output_type"] = "latent" if "latents" in accepted else "pt"
    generator = torch.Generator().manual_seed(seed)
    with _calls(model.adapter.net) as made:
        pipe(prompt=PROMPTS, width=model.adapter.size, generator=generator, **options)
    return made


def _same_calls(model: DiffusionModel) -> list[dict[str, Tensor]]:
    """The pipeline's calls, once ours are found to be the same, bit for bit."""
    x0, _ = _noised(model, 2)
    latents = torch.randn(x0.shape, generator=torch.Generator().manual_seed(5))
    theirs = _run(model, latents, 5)
    assert len(theirs) >= 3  # PNDM takes its second step twice
    conditions = model.conditions(PROMPTS)
    first = next(iter(theirs[0]))
    for step, expected in enumerate(theirs):
        x_t = expected[first]
        if type(model.pipeline).__name__ == "FluxPipeline":
            size = model.adapter.size
            x_t = model.pipeline._unpack_latents(x_t, size, size, model.pipeline.vae_scale_factor)
        if step == 0 and getattr(model.pipeline.scheduler, "init_noise_sigma", 1) == 1:
            assert torch.equal(x_t, latents)
        n_t = expected["timestep"] * (model.steps if type(model.pipeline).__name__ in PER_ONE else 1)
        t = (n_t.double() / model.steps).flatten()[:1].tolist()
        timestep, _, _ = model.levels(t * 2)
        with _calls(model.adapter.net) as made:
            prediction = model.predict(x_t, timestep, torch.tensor([[0], [1]]), conditions)
        assert prediction.shape == x0.shape
        (ours,) = made
        assert set(ours) == set(expected)
        for name, value in expected.items():
            if name == "timestep":
                value = value.expand(2).to(ours[name].dtype)
            assert torch.equal(ours[name], value), f"{name} at step {step}"
    return theirs


#: Their networks take t, not N·t.
PER_ONE = ("FluxPipeline", "AuraFlowPipeline")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_network_gets_what_the_pipeline_hands_it(family: str) -> None:
    theirs = _same_calls(_model(family))
    names = set(theirs[0])
    expected = {
        "sdxl": {"added_cond_kwargs.text_embeds", "added_cond_kwargs.time_ids"},
        "sd3": {"pooled_projections"},
        "flux": {"pooled_projections", "txt_ids", "img_ids"},
        "flux-guided": {"pooled_projections", "txt_ids", "img_ids", "guidance"},
        "pixart": {"encoder_attention_mask"},
        "pixart-1024": {
            "encoder_attention_mask",
            "added_cond_kwargs.resolution",
            "added_cond_kwargs.aspect_ratio",
        },
        "pixart-sigma": {"encoder_attention_mask"},
        "sana": {"encoder_attention_mask"},
    }
    assert names - {"sample", "hidden_states", "timestep", "encoder_hidden_states"} == expected.get(family, set())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_and_the_timestep_matter(family: str) -> None:
    """Or the comparison above would compare nothing."""
    model = _model(family)
    x0, noise = _noised(model, 2)
    conditions = model.conditions(PROMPTS)
    errors = model.errors(x0, noise, torch.tensor([0.3, 0.6]), torch.tensor([[0, 1]] * 2), conditions)
    assert (errors[:, 0] != errors[:, 1]).all()
    timestep, _, _ = model.levels([0.3, 0.6])
    early, late = model.predict(x0, timestep, torch.tensor([[0], [0]]), conditions)
    assert not torch.allclose(early, late, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_levels_are_those_of_the_pipelines_own_scheduler(family: str) -> None:
    """x_t, noised by us, is the image noised by the scheduler and scaled for the network."""
    model = _model(family)
    scheduler = type(model.pipeline.scheduler).from_config(model.pipeline.scheduler.config)
    x0, noise = _noised(model, 1)
    shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(20, **shift)
    timesteps = scheduler.timesteps[[1, 5, 10, 15, 19]]
    # A flow in a DPM solver hands the network whole timesteps, its noise levels lie in between.
    tolerance = 5e-3 if family == "sana" else 2e-6
    for timestep in timesteps:
        scheduler.set_timesteps(20, **shift)
        if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            theirs = scheduler.scale_noise(x0, timestep[None], noise)
        else:
            theirs = scheduler.add_noise(x0, noise, timestep[None])
            theirs = theirs if family == "sana" else scheduler.scale_model_input(theirs, timestep)
        _, alpha, sigma = model.levels([float(timestep) / model.steps])
        scale = float(noise.abs().max() + x0.abs().max())
        assert torch.allclose(alpha * x0 + sigma * noise, theirs, atol=tolerance * scale)


# -- latents -----------------------------------------------------------------------------------------------------------


class _Stop(Exception):
    pass


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "deepfloyd"])
def test_the_pipeline_decodes_what_we_encode(family: str) -> None:
    """Handed our x₀ as its last latents, the pipeline gives its VAE the mean of the image's code, unscaled."""
    model = _model(family)
    pipe, size = model.pipeline, model.adapter.size
    image = _image(size)
    x0 = model.encode([image])
    pixels = pipe.image_processor.preprocess(image[None] / np.float32(255), height=size, width=size)
    with torch.no_grad():
        code = pipe.vae.encode(pixels)
    mean = code.latent if family == "sana" else code.latent_dist.mean
    assert mean.std() > 0
    last = pipe._pack_latents(x0, *x0.shape) if family.startswith("flux") else x0
    decoded: list[Tensor] = []

    def stop(latents: Tensor, **_: Any) -> None:
        decoded.append(latents)
        raise _Stop

    options: dict[str, Any] = {"guidance_scale": 1.0, "num_inference_steps": 2, "height": size, "width": size}
    if family.startswith("pixart"):
        options |= {"use_resolution_binning": False, "callback": lambda step, t, latents: latents.copy_(last)}
    else:
        options |= {"callback_on_step_end": lambda pipe, step, t, kwargs: {"latents": last}}
        if family == "sana":
            options["use_resolution_binning"] = False
    real, pipe.vae.decode = pipe.vae.decode, stop
    try:
        with pytest.raises(_Stop):
            pipe(prompt=PROMPTS[:1], **options)
    finally:
        pipe.vae.decode = real
    assert decoded[0].shape == mean.shape
    assert torch.allclose(decoded[0], mean, atol=1e-5 * float(mean.abs().max()))


def test_a_vae_with_a_mean_and_a_deviation_of_its_own_is_undone_by_its_pipeline() -> None:
    pipe = tiny.build("sdxl")
    plain = DiffusionModel(pipe, "plain").encode([_image(32)])
    pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[2.0, 1.0, 0.5, 4.0])
    own = DiffusionModel(pipe, "own").encode([_image(32)])
    mean, std = (torch.tensor(pipe.vae.config[k])[:, None, None] for k in ("latents_mean", "latents_std"))
    scale = pipe.vae.config.scaling_factor
    assert torch.allclose(own * std / scale + mean, plain / scale, atol=1e-4)  # as its __call__ decodes


def test_pixels_of_deepfloyd_are_noised_as_they_are() -> None:
    model = _model("deepfloyd")
    image = _image(16)
    assert torch.allclose(model.encode([image])[0].permute(1, 2, 0), torch.from_numpy(image) / 127.5 - 1)


def test_images_are_noised_as_image_to_image_noises_them() -> None:
    """The VAE's code in Stable Diffusion's own image-to-image pipeline, without its sampling."""
    model = _model("sd")
    pipe = StableDiffusionImg2ImgPipeline(**model.pipeline.components, requires_safety_checker=False)
    image = _image(32)
    pixels = pipe.image_processor.preprocess(image[None] / np.float32(255))
    real = pipe.vae.encode
    pipe.vae.encode = lambda x: type(real(x))(latent_dist=_Certain(real(x).latent_dist))
    try:
        with torch.no_grad():
            noised = pipe.prepare_latents(
                pixels, torch.tensor([500]), 1, 1, torch.float32, "cpu", torch.Generator().manual_seed(3)
            )
    finally:
        pipe.vae.encode = real
    x0 = model.encode([image])
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3))
    _, alpha, sigma = model.levels([0.5])
    assert torch.allclose(alpha * x0 + sigma * noise, noised, atol=1e-5)


class _Certain:
    """A code that is its mean whenever it is sampled."""

    def __init__(self, code: Any) -> None:
        self.mean = code.mean

    def sample(self, generator: Any = None) -> Tensor:
        return self.mean


# -- (2) the true target has no error ----------------------------------------------------------------------------------


@contextmanager
def _answering(model: DiffusionModel, target: Tensor) -> Iterator[None]:
    """The network answers with this n×c×h×w target, in its own layout, and with nonsense for a learned variance."""
    network = model.adapter.net
    if type(model.pipeline).__name__ == "FluxPipeline":
        target = model.pipeline._pack_latents(target, *target.shape)
    elif network.config.out_channels == 2 * target.shape[1]:
        target = torch.cat([target, torch.full_like(target, 9.0)], 1)
    real, network.forward = network.forward, lambda *args, **kwargs: (target,)
    try:
        yield
    finally:
        network.forward = real


def _targets(model: DiffusionModel, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What each prediction type means (Salimans & Ho 2022; Lipman et al. 2023)."""
    return {
        "epsilon": noise,
        "v_prediction": alpha * noise - sigma * x0,
        "sample": x0,
        "flow": noise - x0,
    }[model.prediction]


@pytest.mark.parametrize("family", [*FAMILIES, "sample"])
def test_the_true_target_has_no_error_at_any_timestep(family: str) -> None:
    if family == "sample":
        pipe = tiny.build("deepfloyd")
        pipe.scheduler.register_to_config(prediction_type="sample")
        model = DiffusionModel(pipe, family, budget=1000)
    else:
        model = _model(family)
    small = torch.Generator().manual_seed(0)
    channels = model.adapter.net.config.in_channels // (4 if family.startswith("flux") else 1)
    x0, noise = (torch.randn(999, channels, 4, 4, generator=small) for _ in range(2))
    t = torch.arange(1, 1000, dtype=torch.float64) / 1000
    timestep, alpha, sigma = model.levels(t.tolist())
    assert torch.equal(timestep.long(), torch.arange(1, 1000))
    target = _targets(model, x0, noise, alpha[:, None, None, None], sigma[:, None, None, None])
    conditions = {k: v[:1] for k, v in model.conditions(PROMPTS).items()}
    conditions = {
        k: v[:, :1] if k.startswith("encoder") else v for k, v in conditions.items()
    }  # one token: the network is not run
    with _answering(model, target):
        errors = model.errors(x0, noise, t, torch.zeros(999, 1, dtype=torch.long), conditions)
    # Single precision: a rounding of x_t, and of α and σ, is magnified by 1/α.
    bound = channels * 16 * (2e-6 / alpha.double()) ** 2
    assert (errors[:, 0] < bound).all()


# -- (3) error spaces agree ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
def test_errors_in_every_space_are_weightings_of_one_error(family: str, t: float) -> None:
    """‖ε̂ − ε‖², ‖v̂ − v‖² and ‖x̂₀ − x₀‖², each from the network's own answer, up to α and σ."""
    model = _model(family)
    x0, noise = _noised(model, 1)
    conditions = model.conditions(PROMPTS)
    error = float(model.errors(x0, noise, torch.tensor([t]), torch.tensor([[1]]), conditions))
    timestep, *levels = model.levels([t])
    alpha, sigma = (v.double() for v in levels)
    x_t = levels[0] * x0 + levels[1] * noise
    out = model.predict(x_t, timestep, torch.tensor([[1]]), conditions).double()
    x_t, x0, noise = x_t.double(), x0.double(), noise.double()
    log_snr = 2 * np.log(float(alpha / sigma))
    epsilon = {
        "epsilon": lambda: out,
        "v_prediction": lambda: sigma * x_t + alpha * out,
        "flow": lambda: x_t + alpha * out,
    }[model.prediction]()
    in_epsilon = float((epsilon - noise).square().sum())
    assert error * EPSILON(np.array([t]), np.array([log_snr]))[0] == pytest.approx(in_epsilon, rel=1e-3)
    if model.flow:
        in_flow = float((out - (noise - x0)).square().sum())
        assert error / float(sigma) ** 2 == pytest.approx(in_flow, rel=1e-3)
    else:
        velocity = (epsilon - sigma * x_t) / alpha  # from x_t = αx₀ + σε and v = αε − σx₀
        in_velocity = float((velocity - (alpha * noise - sigma * x0)).square().sum())
        assert error * VELOCITY(np.array([t]), np.array([log_snr]))[0] == pytest.approx(in_velocity, rel=1e-3)


# -- what cannot be scored -------------------------------------------------------------------------------------------------


def test_an_unknown_pipeline_is_refused_with_the_known_ones() -> None:
    model = _model("sd")
    other = StableDiffusionImg2ImgPipeline(**model.pipeline.components, requires_safety_checker=False)
    with pytest.raises(GenclsError, match=r"StableDiffusionImg2ImgPipeline.*FluxPipeline.*IFPipeline.*add a model"):
        DiffusionModel(other, "other")


def test_a_scheduler_without_a_table_of_noise_levels_is_refused() -> None:
    pipe = tiny.build("sdxl")
    pipe.scheduler = EDMEulerScheduler()
    with pytest.raises(GenclsError, match="EDMEulerScheduler"):
        DiffusionModel(pipe, "edm")


# -- the how-to ------------------------------------------------------------------------------------------------------------


def _example(words: str) -> str:
    """The block of book/add_a_model.md that has these words."""
    text = (Path(__file__).parents[2] / "book" / "add_a_model.md").read_text()
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.S) if words in b)
    return block


def _auraflow() -> AuraFlowPipeline:
    pieces = tiny.t5_tokenizer()
    text = UMT5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    network = AuraFlowTransformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
        attention_head_dim=8, num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
        pos_embed_max_size=64,
    )  # fmt: skip
    torch.manual_seed(0)
    pipe = AuraFlowPipeline(
        pieces, UMT5EncoderModel(text), tiny.vae(4, scaling_factor=0.13025), network, FlowMatchEulerDiscreteScheduler()
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_adapter_of_the_how_to_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "ADAPTERS", dict(adapters.ADAPTERS))
    with pytest.raises(GenclsError, match="AuraFlowPipeline"):
        DiffusionModel(_auraflow(), "auraflow")
    example = _example("class AuraFlowAdapter")
    assert 10 < len(example.splitlines()) < 25
    exec(example, {})
    model = DiffusionModel(_auraflow(), "auraflow")
    assert model.adapter.size == 32
    _same_calls(model)


def test_a_class_that_only_samples_otherwise_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "ADAPTERS", dict(adapters.ADAPTERS))
    exec(_example("StableDiffusionImg2ImgPipeline"), {})
    known = _model("sd")
    other = StableDiffusionImg2ImgPipeline(**known.pipeline.components, requires_safety_checker=False)
    x0, noise = _noised(known, 1)
    asked = (x0, noise, torch.tensor([0.5]), torch.tensor([[0, 1]]))
    ours, theirs = (m.errors(*asked, m.conditions(PROMPTS)) for m in (known, DiffusionModel(other, "other")))
    assert torch.equal(ours, theirs)


def test_the_how_to_lists_every_class_and_every_tiny_family() -> None:
    text = (Path(__file__).parents[2] / "book" / "add_a_model.md").read_text()
    assert set(re.findall(r"`(\w+Pipeline)`", text)) == set(adapters.ADAPTERS)
    assert all(f"`{family}`" in text for family in FAMILIES)
