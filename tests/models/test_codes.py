"""A classifier of codes sees exactly the tokens that `natural/ar`, or the latents that `natural/latent`, reads of an image."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gencls.errors import GenclsError
from gencls.models.codes import CodeClassifier, pictured
from gencls.models.zoo import open_folder, open_model
from gencls.stimuli import tiny_imagenet
from gencls.training import publishing, recipes
from gencls.training.classifiers import Codes
from gencls.training.data import Photographs
from gencls.training.recipes import RECIPES, train


class Few(Photographs):
    """Smooth random images in the place of photographs, and their classes."""

    def __init__(self) -> None:
        coarse = torch.rand(26, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        smooth = torch.nn.functional.interpolate(coarse, 64, mode="bilinear")
        self.images = (smooth.permute(0, 2, 3, 1) * 255).byte().contiguous()
        self.labels = torch.arange(26)
        self.classes = tiny_imagenet.classes(26)


@pytest.fixture(scope="module", params=["natural/tokens", "natural/latent-classifier"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1, "split": "dev"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "pool", lambda *_: Few())
        patch.setattr(publishing, "examine", lambda *_: {"in_distribution_accuracy": accuracy})
        patch.setattr(publishing, "card", lambda *_: "card")
        patch.setattr("gencls.training.classifiers.compiled", lambda module: module)
        given = replace(RECIPES[request.param], steps=4, batch=8, width=64, depth=(1,))
        return train(request.param, tmp_path_factory.mktemp("codes") / "codes", given=given)


def _of(folder: Path) -> Any:
    return open_model(json.loads((folder / "preprocessor_config.json").read_text())["codes_of"])


def test_it_sees_the_codes_that_the_other_model_reads(folder: Path) -> None:
    model, reader = open_folder(folder, "codes"), _of(folder)
    assert isinstance(model, CodeClassifier)
    images = list(Few().images[:3].numpy())
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    answers = model.log_probabilities(images, ["cat", "dog", "car"])
    assert np.exp(answers).sum(1) == pytest.approx(1)
    codes = reader.encode(images)
    if reader.kind == "autoregressive":
        assert torch.equal(seen[0].argmax(1).flatten(1), codes)
        assert (seen[0] != 0).sum() == codes.numel() and seen[0].square().mean().item() == pytest.approx(1)
    else:
        assert torch.equal(seen[0], codes)


@pytest.mark.parametrize("of", ["natural/ar", "natural/latent"])
def test_it_learns_from_the_codes_of_every_photograph_and_its_mirror_image(of: str) -> None:
    photos, reader = Few(), open_model(of)
    pool = Codes(reader, photos)
    both = [pictured(reader, reader.encode(list(view.numpy()))) for view in (photos.images, photos.images.flip(2))]
    images, labels = pool.batch(64, torch.Generator().manual_seed(0))
    assert images.shape == (64, pool.channels, pool.side, pool.side) and labels.unique().numel() > 15
    off = torch.stack([(images * 2 - 1 - own[labels]).abs().amax((1, 2, 3)) for own in both])
    assert off.amin(0).max() < 1e-3  # of a mirrored photograph or of itself
    assert 10 < off.argmin(0).sum() < 54


@pytest.fixture(scope="module")
def noised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1, "split": "dev"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "pool", lambda *_: Few())
        patch.setattr(publishing, "examine", lambda *_: {"in_distribution_accuracy": accuracy})
        patch.setattr(publishing, "card", lambda *_: "card")
        name = "natural/latent-denoising-classifier"
        given = replace(RECIPES[name], steps=4, batch=8)
        return train(name, tmp_path_factory.mktemp("noised") / "noised", given=given)


def test_a_classifier_of_noised_latents_sees_what_the_generator_sees_with_half_of_its_layers(noised: Path) -> None:
    model: Any = open_folder(noised, "noised")
    reader: Any = open_model("natural/latent")
    layers = reader.pipeline.unet.state_dict()
    shared = {k: v for k, v in model.network.state_dict().items() if k.startswith(("down_blocks.", "mid_block."))}
    assert shared and all(layers[name].shape == weight.shape for name, weight in shared.items())
    assert all(k in shared for k in layers if k.startswith(("down_blocks.", "mid_block.")))
    images = list(Few().images[:3].numpy())
    x0 = model.encode(images)
    assert torch.equal(x0, reader.encode(images)) and model.kind == "noised" and "natural/latent" in model.preprocessing
    t, noise = torch.tensor([0.1, 0.5, 0.9]), torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    for own, other in zip(model.levels(t.tolist()), reader.levels(t.tolist()), strict=True):
        assert torch.equal(own, other)  # noised as the generator's
    classes = ["cat", "dog", "car"]
    found = model.errors(x0, noise, t, torch.arange(3).expand(3, 3), model.asked(classes))
    timestep, alpha, sigma = (part[:, None, None, None] for part in reader.levels(t.tolist()))
    with torch.no_grad():
        p = model.network(alpha * x0 + sigma * noise, timestep.flatten()).double().softmax(1)
    each = torch.stack([p[:, model.behind[c]].mean(1) for c in classes], 1)
    torch.testing.assert_close(found, -(each / each.sum(1, keepdim=True)).log(), rtol=1e-5, atol=1e-6)


def test_a_classifier_of_the_latents_of_another_training_is_refused(noised: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(noised, other)
    (other / "preprocessor_config.json").write_text(json.dumps({"codes_of": "natural/latent", "digest": "0"}))
    with pytest.raises(GenclsError, match="another training of natural/latent"):
        open_folder(other, "noised")
    with pytest.raises(GenclsError, match="its own size only"):
        open_folder(noised, "noised", resolution=32)


def test_what_codes_cannot_do_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="its own size only"):
        open_folder(folder, "codes", resolution=32)
    model: Any = open_folder(folder, "codes")
    model.noise = 0.5
    with pytest.raises(GenclsError, match="it sees codes"):
        model.log_probabilities(list(Few().images[:1].numpy()), ["cat", "dog"])
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    of = json.loads((folder / "preprocessor_config.json").read_text())["codes_of"]
    (other / "preprocessor_config.json").write_text(json.dumps({"codes_of": of, "digest": "0"}))
    with pytest.raises(GenclsError, match=f"another training of {of}"):
        open_folder(other, "codes")


def test_no_configuration_that_ships_names_a_place_on_a_machine() -> None:
    root = Path(__file__).parents[2]
    files = [path for place in ("weights", "gencls/weights") for path in (root / place).rglob("*.json")]
    assert files and [str(path) for path in files if '"_name_or_path": "/' in path.read_text()] == []
