"""The autoencoder and the diffusion in its latents: killed in either stage it ends the same, and it is a Stable Diffusion pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from gencls.models.diffusion import DiffusionModel
from gencls.models.zoo import open_folder
from gencls.stimuli import tiny_imagenet
from gencls.training import latent, loop, publishing, recipes
from gencls.training.data import Photographs
from gencls.training.latent import latent_pipeline, train_latent
from gencls.training.recipes import RECIPES, train

SIDE, WIDTH, STEPS, BATCH = 32, 48, 3, 4


class Few(Photographs):
    """Twenty random images in the place of photographs; the `kill`-th batch, or caption, interrupts."""

    def __init__(self, kill: dict[str, int] | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (20, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(20)
        self.classes = tiny_imagenet.classes(26)
        self.left = dict(kill or {})

    def _count(self, what: str) -> None:
        if what in self.left:
            self.left[what] -= 1
            if self.left[what] < 0:
                raise KeyboardInterrupt

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        self._count("batch")
        return super().batch(size, generator)

    def captions(self, labels: Tensor, generator: torch.Generator) -> list[str]:
        self._count("captions")
        return super().captions(labels, generator)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled; a checkpoint after every step."""
    monkeypatch.setattr(latent, "compiled", lambda module: module)
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0)


def _train(checkpoint: Path, photos: Photographs) -> StableDiffusionPipeline:
    pipe = latent_pipeline(0, width=WIDTH, side=SIDE)
    train_latent(pipe, photos, loop.Run(STEPS, BATCH, 0, checkpoint), first=STEPS)
    return pipe


def _weights(pipe: Any) -> dict[str, Tensor]:
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    assert set(parts) == {"vae", "unet", "text_encoder"}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionPipeline:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent, "compiled", lambda module: module)
        return _train(tmp_path_factory.mktemp("whole") / "whole.checkpoint", Few())


def test_a_run_killed_in_either_stage_ends_in_the_same_weights(tmp_path: Path, whole: StableDiffusionPipeline) -> None:
    checkpoint = tmp_path / "killed.checkpoint"
    for kill in ({"batch": 2}, {"captions": 0}, {"captions": 2}):
        with pytest.raises(KeyboardInterrupt):
            _train(checkpoint, Few(kill))
    resumed = _train(checkpoint, Few({"batch": 0, "captions": 1}))  # one step is left, and none of the first stage
    assert resumed.vae.config.scaling_factor == whole.vae.config.scaling_factor
    expected, untrained = _weights(whole), _weights(latent_pipeline(0, width=WIDTH, side=SIDE))
    for name, value in _weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    for part in ("vae", "unet", "text_encoder"):
        assert any(not torch.equal(untrained[k], v) for k, v in expected.items() if k.startswith(part))


def test_a_trained_folder_is_a_stable_diffusion_pipeline_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "pool", lambda *_: Few())
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1, "split": "dev"}
    monkeypatch.setattr(publishing, "examine", lambda *_: {"in_distribution_accuracy": accuracy})
    monkeypatch.setattr(publishing, "card", lambda *_: "card")
    monkeypatch.setattr(recipes.Recipe, "side", SIDE)
    given = replace(RECIPES["natural/latent"], steps=2, batch=BATCH, width=WIDTH, first=2)
    folder = train("natural/latent", tmp_path / "model", given=given)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model-samples"]
    files = sorted(folder.rglob("*.safetensors"))
    assert [path.parent.name for path in files] == ["text_encoder", "unet", "vae"]
    assert all(value.dtype == torch.float16 for path in files for value in load_file(path).values())

    pipe = StableDiffusionPipeline.from_pretrained(folder).to(dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a photo of a cat", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, SIDE, SIDE, 3) and np.isfinite(image).all()

    model = open_folder(folder, "natural/latent")
    assert isinstance(model, DiffusionModel) and model.prediction == "v_prediction"
    assert {value.dtype for value in _weights(model.pipeline).values() if value.is_floating_point()} == {torch.float32}
    images = list(Few().images.numpy())
    x0 = model.encode(images)
    assert x0.shape == (20, 16, SIDE // 8, SIDE // 8)
    assert x0.std().item() == pytest.approx(1, abs=0.02)
    conditions = model.conditions(["A bad photo of a cat", "A bad photo of a dog"])
    errors = model.errors(
        x0[:2], torch.randn(x0[:2].shape), torch.tensor([0.1, 0.6]), torch.tensor([[0, 1]] * 2), conditions
    )
    assert (errors[:, 0] != errors[:, 1]).all()


def test_latents_are_of_the_photographs_and_of_their_mirror_images(whole: StableDiffusionPipeline) -> None:
    photos = Few()
    vae = latent_pipeline(0, width=WIDTH, side=SIDE).vae
    latents = latent.Latents(vae, photos)
    assert latents.values.std().item() == pytest.approx(1, abs=1e-3)
    images = torch.stack([photos.images[3], photos.images[3].flip(1)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        own = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents.values[:, 3], own, atol=0.1)
    x0, labels = latents.batch(64, torch.Generator().manual_seed(0))
    kinds = {
        (int(k), m) for k, z in zip(labels, x0, strict=True) for m in (0, 1) if torch.equal(latents.values[m, k], z)
    }
    assert len(kinds) > 30  # both of most


def test_the_autoencoder_learns_to_reconstruct(tmp_path: Path) -> None:
    photos = Few()
    coarse = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, SIDE, mode="bilinear").permute(0, 2, 3, 1)
    photos.images = (smooth * 255).byte().contiguous()
    vae = latent_pipeline(0, width=WIDTH, side=SIDE).vae
    latent.train_autoencoder(vae, photos, loop.Run(200, 8, 0, tmp_path / "vae.checkpoint"))
    mean = 10 * np.log10(255**2 / photos.images.float().var((0, 1, 2)).mean().item())
    assert latent.reconstruction(vae, photos.images) > mean + 2


@pytest.mark.slow
def test_the_compiled_decoder_has_the_gradients_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled as a whole its gradients were exactly zero before the last upsampler, while its images were right."""
    monkeypatch.setattr(latent, "compiled", loop.compiled)
    z = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for form in (lambda decoder: decoder, latent.compiled_decoder):
        decoder = latent_pipeline(0, width=WIDTH).vae.decoder.to(memory_format=torch.channels_last)
        form(decoder)(z.contiguous(memory_format=torch.channels_last)).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in decoder.named_parameters()})
    plain, quick = found
    least = 1e-4 * max(
        float(gradient.norm()) for gradient in plain.values()
    )  # a bias before a norm of single channels has none
    for name, gradient in plain.items():
        assert (quick[name] - gradient).norm() <= max(1e-3 * gradient.norm(), least), name
    assert sum(float(gradient.norm()) > 10 * least for gradient in plain.values()) > len(plain) / 2
