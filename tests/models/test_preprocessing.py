"""A model's preprocessing: its own is recorded, another is another observer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import CLIPForImageClassification, ViTImageProcessorPil

import gencls
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.models import tiny, zoo
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import ContrastiveModel, DiscriminativeModel
from gencls.models.labels import imagenet_labels
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
            model = DiffusionModel(pipeline, "tiny", **change)
            score(model, STIMULI, plan=Exhaustive(1), record=path, progress=False)


def test_what_cannot_be_changed_is_said() -> None:
    with pytest.raises(GenclsError, match="30 pixels a side, only its own 32 or multiples of 16"):
        DiffusionModel(tiny.build("sd"), "tiny", resolution=30)
    with pytest.raises(GenclsError, match="64 pixels a side, only its own 32"):
        gencls.load("shapes/pixel", resolution=64)
    with pytest.raises(GenclsError, match="own size only"):
        gencls.load("natural/ar", resolution=128)


def _pixels(side: int, crop: bool, mean: Any, std: Any) -> torch.Tensor:
    """The picture as the text says that it is shown: square, bicubic, values scaled."""
    picture = Image.fromarray(PICTURE)
    square = picture.crop((12, 0, 52, 40)) if crop else picture
    values = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)) / 255
    return torch.from_numpy(((values - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("family", "side"), [("resnet", 48), ("vit", 48), ("clip", 48), ("siglip", 24)])
@pytest.mark.parametrize("crop", [True, False])
def test_a_classifier_takes_another_resolution_too(family: str, side: int, crop: bool, tmp_path: Path) -> None:
    made = tiny.build(family)
    made.save_pretrained(tmp_path)
    model = zoo.open_folder(tmp_path, family, resolution=side, crop=crop)
    processor = getattr(made.processor, "image_processor", made.processor)
    given = {"pixel_values": _pixels(side, crop, processor.image_mean, processor.image_std)}
    if family != "resnet":  # which has no positions; those of the others are interpolated by transformers
        given["interpolate_pos_encoding"] = True
    with torch.no_grad():
        if isinstance(model, ContrastiveModel):
            expected = made.network.eval()(**model.words(["a cat", "a dog"]), **given).logits_per_image
            found = model.logits([PICTURE], ["a cat", "a dog"])
        else:
            assert isinstance(model, DiscriminativeModel)
            expected, found = made.network.eval()(**given).logits, model.logits([PICTURE])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert model.name == f"{family} ({side} pixels{'' if crop else ', whole image'})"
    told = json.loads(model.preprocessing)
    assert told["shown"] == f"{'central square' if crop else 'whole image made square'}, bicubic to {side}"
    assert told["do_resize"] is False and told["do_normalize"] is True


def test_the_own_resolution_by_its_number_is_the_own_preprocessing(tmp_path: Path) -> None:
    tiny.build("clip").save_pretrained(tmp_path)
    own, told = (zoo.open_folder(tmp_path, "clip", resolution=side) for side in (None, 32))
    assert isinstance(own, ContrastiveModel) and isinstance(told, ContrastiveModel)
    assert (own.name, own.preprocessing) == (told.name, told.preprocessing)
    assert torch.equal(own.logits([PICTURE], ["a"]), told.logits([PICTURE], ["a"]))


def test_our_classifiers_convolve_any_size() -> None:
    own, large = (gencls.load("shapes/resnet", resolution=side).model for side in (None, 64))
    assert large.name == "shapes/resnet (64 pixels)" and "bicubic to 64" in large.preprocessing
    assert large.logits([PICTURE]).shape == own.logits([PICTURE]).shape
    assert not torch.equal(large.logits([PICTURE]), own.logits([PICTURE]))


def test_a_classifier_that_takes_one_size_only_says_so(tmp_path: Path) -> None:
    tiny.build("vit").save_pretrained(tmp_path / "vit")
    with pytest.raises(
        GenclsError, match=r"^vit: its network cannot take images of 50 pixels a side, only multiples of 8$"
    ):
        zoo.open_folder(tmp_path / "vit", "vit", resolution=50)
    tiny.build("siglip2").save_pretrained(tmp_path / "siglip2")
    with pytest.raises(GenclsError, match="siglip2: its image processor has no one size to change"):
        zoo.open_folder(tmp_path / "siglip2", "siglip2", resolution=48)
    config = tiny.build("clip").network.config
    config.id2label = dict(enumerate(imagenet_labels()))
    fixed = tiny.Classifier(  # CLIP's image tower, fine-tuned: transformers interpolates its positions only when asked, and lets nobody ask
        CLIPForImageClassification(config), ViTImageProcessorPil(size={"height": 32, "width": 32})
    )
    fixed.save_pretrained(tmp_path / "fixed")
    zoo.open_folder(tmp_path / "fixed", "fixed")
    with pytest.raises(GenclsError, match=r"^fixed: its network cannot take images of 64 pixels a side"):
        zoo.open_folder(tmp_path / "fixed", "fixed", resolution=64)
