"""Validity: the measures find what the shipped models were trained to be."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers
from gencls.metrics import shape_bias
from gencls.models import weights, zoo
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import ShapesWorld
from gencls.trials import from_answers

WORLD = ShapesWorld()
#: Every classifier that ships, but the validity controls.
RESNETS = [
    f"shapes/{name}" for name in ("resnet", "resnet@1", "resnet@2", "resnet-noise", "resnet-noise@1", "resnet-noise@2")
]


def _correct(model: str, stimuli: StimulusSet) -> float:
    given = answers(score(zoo.open_model(model), stimuli, progress=False))
    return float(np.mean(np.array(given) == stimuli.table["category"].to_numpy(str)))


@cache
def _bias(folder: str) -> float:
    stimuli = WORLD.stimuli("cue-conflict", 240)
    given = answers(score(zoo.open_folder(Path(folder), folder), stimuli, progress=False))
    return float(shape_bias(from_answers("control", stimuli, given)))


def test_where_only_shape_told_categories_apart_the_shape_bias_is_high() -> None:
    assert _bias(str(weights.PACKAGE / "shapes/control-shape")) > 0.9


def test_where_only_texture_told_categories_apart_the_shape_bias_is_low() -> None:
    assert _bias(str(weights.PACKAGE / "shapes/control-texture")) < 0.1


@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_a_control_reads_its_cue(cue: str) -> None:
    """A bias near 0 or 1 from a network that cannot tell the cue would say nothing."""
    other = "texture" if cue == "shape" else "shape"
    own = ShapesWorld(**{f"{other}_reliability": 0.0})
    assert _correct(f"shapes/control-{cue}", own.stimuli("photos", 320)) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_the_controls_trained_again(cue: str, tmp_path: Path) -> None:
    from gencls.training.recipes import train

    bias = _bias(str(train(f"shapes/control-{cue}", tmp_path / cue)))
    assert bias > 0.9 if cue == "shape" else bias < 0.1


@pytest.mark.parametrize("model", RESNETS)
def test_the_resnets_know_the_photos(model: str) -> None:
    assert _correct(model, WORLD.stimuli("photos", 480)) >= 0.99


def test_the_diffusion_model_knows_the_photos_under_the_papers_weighting() -> None:
    assert _correct("shapes/pixel", WORLD.stimuli("photos", 96)) >= 0.98


def test_the_weights_that_ship_are_safetensors_and_small() -> None:
    files = [path for path in weights.PACKAGE.rglob("*") if path.is_file() and "checkpoint" not in path.name]
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
    sizes = {path: path.stat().st_size for path in files if path.suffix == ".safetensors"}
    assert sum(sizes.values()) < 30e6
    assert all(size < 1e6 for path, size in sizes.items() if "control" in path.parent.name)
