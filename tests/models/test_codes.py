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
from gencls.training import recipes
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
        patch.setattr(recipes, "_examine", lambda *_: {"in_distribution_accuracy": accuracy})
        patch.setattr(recipes, "_card", lambda *_: "card")
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
    pool = Codes(reader, photos)  # type: ignore[arg-type]
    both = [pictured(reader, reader.encode(list(view.numpy()))) for view in (photos.images, photos.images.flip(2))]  # type: ignore
    images, labels = pool.batch(64, torch.Generator().manual_seed(0))
    assert images.shape == (64, pool.channels, pool.side, pool.side) and labels.unique().numel() > 15
    off = torch.stack([(images * 2 - 1 - own[labels]).abs().amax((1, 2, 3)) for own in both])
    assert off.amin(0).max() < 1e-3  # of a mirrored photograph or of itself
    assert 10 < off.argmin(0).sum() < 54


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
