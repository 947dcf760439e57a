"""The Python door: arrays, paths and names in; answers, probabilities and plain JSON out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gencls
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.models import zoo
from gencls.stimuli.pictures import read_picture
from gencls.stimuli.shapes import SHAPES, ShapesWorld

IMAGES = list(ShapesWorld().stimuli("photos", 4).images())


@pytest.mark.parametrize("model", ["shapes/resnet", "shapes/pixel"])
def test_arrays_and_files_are_answered_alike(model: str, tmp_path: Path) -> None:
    observer = gencls.load(model)
    path = tmp_path / "mine.png"
    Image.fromarray(IMAGES[0]).save(path)
    plan = Exhaustive(timesteps=2)
    found = observer.classify([*IMAGES, path], plan=plan)
    assert found.names[-1] == "mine.png" or found.names[-1].endswith("mine.png")
    assert len(found.answers) == 5
    assert set(found.answers) <= set(SHAPES)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert found.probabilities.idxmax(axis=1).tolist() == list(found.answers)
    assert "shapes" in found.note
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [image["answer"] for image in told["images"]] == list(found.answers)
    few = observer.classify(IMAGES[:1], classes=["moon", "star"], plan=plan)
    assert few.answers[0] in ("moon", "star")


def test_one_image_needs_no_list(tmp_path: Path) -> None:
    observer, picture = gencls.load("shapes/resnet"), Image.fromarray(IMAGES[0])
    picture.save(tmp_path / "mine.png")
    for one in (
        IMAGES[0],
        picture,
        picture.convert("RGBA"),
        tmp_path / "mine.png",
        read_picture(tmp_path / "mine.png"),
    ):
        found = observer.classify(one)
        np.testing.assert_array_equal(found.weighted, observer.classify([IMAGES[0]]).weighted)
    assert len(observer.classify(np.stack(IMAGES)).answers) == 4
    with pytest.raises(GenclsError, match=r"image 0 is uint8 of shape \(32, 32\)"):
        observer.classify(IMAGES[0][..., 0])


def test_dropped_classes_are_null_in_json() -> None:
    found = gencls.load("shapes/pixel").classify(IMAGES[:1], plan=Staged(timesteps=2, keep=(2,)))
    assert found.probabilities is None
    scores = json.loads(json.dumps(found.to_dict(), allow_nan=False))["images"][0]["scores"]
    assert sum(v is not None for v in scores.values()) == 2
    one = gencls.load("shapes/pixel").classify(IMAGES[:2], plan=Staged(timesteps=4, keep=(1,))).table()
    assert one["next"].tolist() == ["", ""]  # nobody else came in


@pytest.mark.parametrize("model", ["shapes/resnet", "shapes/pixel"])
def test_probabilities_have_the_temperature_that_training_fitted_where_it_fits(model: str) -> None:
    observer, plan = gencls.load(model), Exhaustive(timesteps=2)
    fitted = zoo.facts(model)["temperature"]
    found = observer.classify(IMAGES[:2], plan=plan)
    logits = -found.weighted.to_numpy() / fitted
    odds = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(found.probabilities, odds / odds.sum(1, keepdims=True), rtol=1e-5)
    otherwise = observer.classify(IMAGES[:2], plan=plan, weighting="uniform")
    if model == "shapes/pixel":  # errors on another scale
        assert otherwise.probabilities is None and "probability" not in otherwise.table()
        assert otherwise.to_dict()["images"][0]["probabilities"] is None
    else:
        assert otherwise.probabilities is not None and otherwise.probabilities.equals(found.probabilities)


def test_what_cannot_be_answered_is_named() -> None:
    observer = gencls.load("shapes/resnet")
    with pytest.raises(GenclsError, match="zebra"):
        observer.classify(IMAGES[:1], classes=["moon", "zebra"])
    with pytest.raises(GenclsError, match="no image"):
        observer.classify([])
    with pytest.raises(GenclsError, match="float64"):
        observer.classify([np.zeros((4, 4, 3))])
    with pytest.raises(GenclsError, match="resolution is 0"):
        gencls.load("shapes/resnet", resolution=0)
    with pytest.raises(GenclsError, match="shapes/vit"):
        gencls.load("shapes/vit")
    with pytest.raises(GenclsError, match="colour"):
        gencls.world("shapes", colour=1)


def test_classes_that_a_model_reads_alike_or_never_read_are_refused() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    for model in ("natural/pixel", "natural/clip", "natural/ar"):
        with pytest.raises(GenclsError, match=r"never read 'unicorn', 'zebra'.*such as bear"):
            gencls.load(model).classify(grey, classes=["dog", "unicorn", "zebra"])
    with pytest.raises(GenclsError, match="never read 1;"):
        gencls.load("natural/pixel").classify(grey, classes=["dog", 1])
    with pytest.raises(GenclsError, match="no label for 'unicorn'"):  # one that is asked in no words says so itself
        gencls.load("natural/resnet").classify(grey, classes=["dog", "unicorn"])
    assert gencls.load("natural/clip").classify(grey, classes=["tabby", "brown bear"]).answers[0] in (
        "tabby",
        "brown bear",
    )
    long = "photo " * 200 + "{}"
    for model in ("shapes/pixel", "natural/clip"):
        classes = ["star", "heart"] if model.startswith("shapes") else ["dog", "cat"]
        with pytest.raises(GenclsError, match="alike; shorten the prompt"):
            gencls.load(model).classify(grey, classes=classes, prompt=long, plan=Exhaustive(timesteps=1))


def test_what_has_no_effect_or_is_not_there_is_said() -> None:
    grey = np.full((32, 32, 3), 128, np.uint8)
    observer = gencls.load("shapes/resnet")
    assert "the prompt has no effect" in observer.classify(grey, prompt="a photo of a {}").note
    assert "prompt" not in observer.classify(grey).note
    for given, what in (
        ({"classes": "star"}, "classes is one text, 'star'"),
        ({"classes": ["star", 1]}, "1 is no text|knows nothing else"),
        ({"weighting": "foo"}, "foo"),
    ):
        with pytest.raises(GenclsError, match=what):
            observer.classify(grey, **given)
    with pytest.raises(GenclsError, match=r"image 0 is uint8 of shape \(0, 5, 3\)"):
        observer.classify(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(GenclsError, match="those of a Ray cluster"):
        gencls.load("shapes/resnet", workers=3)
    with pytest.raises(GenclsError, match="image 0: floating-point pixels"):
        observer.classify(Image.fromarray(np.zeros((8, 8), np.float32)))
    with pytest.raises(GenclsError, match=r"load has no option 'devise'; there are .*device"):
        gencls.load("shapes/resnet", devise="cpu")
