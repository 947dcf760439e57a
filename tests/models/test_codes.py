"""A classifier of tokens sees exactly the tokens that `natural/ar` reads of an image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gencls.errors import GenclsError
from gencls.models.tokens import TokenClassifier, pictured
from gencls.models.zoo import open_folder, open_model
from gencls.stimuli import tiny_imagenet
from gencls.training import recipes
from gencls.training.autoregressive import CODES, GRID
from gencls.training.classifiers import Tokens
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1, "split": "dev"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "pool", lambda *_: Few())
        patch.setattr(recipes, "_examine", lambda *_: {"in_distribution_accuracy": accuracy})
        patch.setattr(recipes, "_card", lambda *_: "card")
        patch.setattr("gencls.training.classifiers.compiled", lambda module: module)
        given = replace(RECIPES["natural/tokens"], steps=4, batch=8, width=64, depth=(1,))
        return train("natural/tokens", tmp_path_factory.mktemp("tokens") / "tokens", given=given)


def test_it_sees_the_tokens_that_the_other_model_reads(folder: Path) -> None:
    model = open_folder(folder, "natural/tokens")
    reader = open_model("natural/ar")
    assert isinstance(model, TokenClassifier)
    images = list(Few().images[:3].numpy())
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    answers = model.log_probabilities(images, ["cat", "dog", "car"])
    assert np.exp(answers).sum(1) == pytest.approx(1)
    codes = reader.encode(images)  # type: ignore[union-attr]
    assert torch.equal(seen[0].argmax(1).flatten(1), codes)
    assert (seen[0] != 0).sum() == codes.numel() and seen[0].square().mean().item() == pytest.approx(1)


def test_it_learns_from_the_tokens_of_every_photograph_and_its_mirror_image() -> None:
    photos, reader = Few(), open_model("natural/ar")
    pool = Tokens(reader.network.model.vqmodel, photos)  # type: ignore[union-attr]
    plain = reader.encode(list(photos.images.numpy()))  # type: ignore[union-attr]
    mirrored = reader.encode(list(photos.images.flip(2).numpy()))  # type: ignore[union-attr]
    images, labels = pool.batch(64, torch.Generator().manual_seed(0))
    assert images.shape == (64, CODES, GRID, GRID)
    codes = images.argmax(1).flatten(1)
    views = torch.stack([(codes == own[labels]).float().mean(1) for own in (plain, mirrored)])
    best, which = views.max(0)
    assert best.mean() > 0.98  # a batch rounds otherwise than one image does
    assert 10 < which.sum() < 54 and torch.allclose(pictured(codes, (GRID, GRID), CODES), images * 2 - 1, atol=1e-5)


def test_what_tokens_cannot_do_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="its own size only"):
        open_folder(folder, "natural/tokens", resolution=32)
    model = open_folder(folder, "natural/tokens")
    model.noise = 0.5
    with pytest.raises(GenclsError, match="it sees tokens"):
        model.log_probabilities(list(Few().images[:1].numpy()), ["cat", "dog"])  # type: ignore[union-attr]
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "preprocessor_config.json").write_text(json.dumps({"tokens_of": "natural/ar", "digest": "0"}))
    with pytest.raises(GenclsError, match="another training of natural/ar"):
        open_folder(other, "natural/tokens")
