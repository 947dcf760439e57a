"""A classifier of noised images stands among the diffusion models, with −log p in the place of an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers, weighted
from gencls.models.noise import noise
from gencls.models.noised import NoisedClassifier
from gencls.models.pixel import PatchClassifier, cosine_schedule
from gencls.stimuli.shapes import ShapesWorld

IDS = ["n02123045", "n02123394", "n02132136", "n04285008"]  # two cats, a bear, a car


def _model(labels: list[str]) -> NoisedClassifier:
    torch.manual_seed(0)
    network = PatchClassifier(width=64, heads=1, depth=1, classes=len(labels), labels=labels)
    torch.nn.init.normal_(network.answer.weight, std=2.0)
    return NoisedClassifier(network, "noised", cosine_schedule().alphas_cumprod)


def test_scores_are_minus_the_log_of_the_mean_probability_behind_each_category() -> None:
    model, photos = _model(IDS), ShapesWorld().stimuli("photos", 5)
    classes = ["bear", "cat", "car"]
    scores = score(model, photos, classes=classes, plan=Exhaustive(3), seed=4, progress=False)
    alphas = cosine_schedule().alphas_cumprod.double()
    for i, stimulus in enumerate(photos):
        x0 = torch.from_numpy(stimulus.image).permute(2, 0, 1).float() / 127.5 - 1
        for k, step in enumerate((167, 500, 833)):
            x_t = (
                alphas[step].sqrt() * x0 + (1 - alphas[step]).sqrt() * noise(4, stimulus.name, step, 0, (3, 32, 32))
            ).float()
            p = model.network(x_t[None], torch.tensor([step])).double().softmax(1)[0].numpy()
            each = np.array([p[2], (p[0] + p[1]) / 2, p[3]])
            expected = -np.log(each / each.sum())
            np.testing.assert_allclose(scores["error"].values[i, :, k, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(np.exp(-scores["error"]).sum("class"), 1, rtol=1e-5)
    mean = scores["error"].values[:, :, :, 0].mean(2)
    assert answers(scores, "uniform") == [classes[i] for i in mean.argmin(1)]
    assert weighted(scores, "uniform").dims == ("stimulus", "class")
    assert scores.attrs["kind"] == "noised" and "prompt" in scores.attrs and not scores.attrs["prompt"]


def test_what_it_has_no_label_for_is_said() -> None:
    with pytest.raises(GenclsError, match="no label for 'dog'"):
        _model(IDS).asked(["dog", "cat"])
    with pytest.raises(GenclsError, match="2 outputs, but 0 labels"):
        NoisedClassifier(PatchClassifier(width=64, heads=1, classes=2), "noised", cosine_schedule().alphas_cumprod)
