"""One decision in pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gencls
from gencls import GenclsError
from gencls.analyses import bias, decisions
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers

PLAN = Exhaustive(timesteps=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained pixel model, its head not zero, so that its reconstructions are not all grey."""
    import torch

    from gencls.training.pixel import pipeline

    folder: Path = tmp_path_factory.mktemp("pixel")
    pipe = pipeline(0, width=128, patch_size=4, trunk_depth=1, text_depth=1)
    torch.manual_seed(0)
    for parameter in pipe.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    pipe.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def made(model: str) -> decisions.Denoised:
    return decisions.denoise(model, gencls.world("shapes").stimuli("cue-conflict", 3), PLAN.t)


def test_the_errors_are_those_that_scoring_puts_on_record(model: str, made: decisions.Denoised) -> None:
    from gencls.models import zoo

    scored = score(zoo.open_model(model), made.stimuli, plan=PLAN, progress=False)
    np.testing.assert_allclose(made.errors.values, scored["error"].values[..., 0], rtol=1e-4)
    np.testing.assert_allclose(made.errors["log_snr"], scored["log_snr"], rtol=1e-6)
    assert decisions.answers(decisions.scores(made)) == decisions.answers(scored)


def test_the_pictures_show_what_was_reconstructed(made: decisions.Denoised) -> None:
    """Where nothing is clipped, the error can be read off the picture."""
    originals = made.stimuli.images().astype(float)
    shown = made.estimates.astype(float)
    inside = ((made.estimates > 0) & (made.estimates < 255)).all((-1, -2, -3))
    far = ((shown - originals[:, None, None]) / 127.5) ** 2
    error = made.errors.transpose("stimulus", "timestep", "class").values
    assert inside.any()
    np.testing.assert_allclose(far.sum((-1, -2, -3))[inside], error[inside], rtol=0.05)
    assert made.noised.shape == (3, 4, 32, 32, 3) and shown.shape == (3, 4, 16, 32, 32, 3)


def test_noise_grows_with_t(made: decisions.Denoised) -> None:
    originals = made.stimuli.images()[:, None].astype(float)
    away = ((made.noised - originals) ** 2).mean((0, 2, 3, 4))
    assert (np.diff(away) > 0).all() and made.t == sorted(made.t)


def test_the_explorer_has_a_picture_and_a_sentence_for_every_setting(made: decisions.Denoised) -> None:
    rows, images = decisions.explorer_pictures(made, [0, 2])
    curves = decisions.curve_rows(made, [0, 2])
    text = decisions.explorer_text(made, [0, 2], ["tree", "fish", "star"], "exp(-7t)")
    settings = {(s, t) for s in map(decisions.label, made.stimuli) for t in (made.t[0], made.t[2])}
    for table in (rows, curves, text):
        assert set(zip(table["stimulus"], table["level"], strict=True)) == settings
    assert set(rows["image"]) == set(images) and (rows.groupby(["stimulus", "level"]).size() == 5).all()
    classes = curves[curves["role"] != "noise level shown"].groupby(["stimulus", "level", "t"])["error"]
    np.testing.assert_allclose(classes.mean(), 0, atol=1e-4)
    least = rows[rows["caption"].str.contains("the least")]
    assert len(least) == len(settings)


def test_roles_tell_the_cues_apart() -> None:
    found = decisions.roles("tree", "fish", ["tree", "fish", "star"])
    assert list(found.values()) == ["the shape's class", "the texture's class", decisions.OTHER]
    assert decisions.roles("tree", "", ["tree", "star"])["tree"] == "right answer"


def test_a_classifier_reconstructs_nothing() -> None:
    with pytest.raises(GenclsError, match="reconstructs nothing"):
        decisions.denoise("shapes/control-shape", gencls.world("shapes").stimuli("cue-conflict", 1), PLAN.t)


def test_the_share_of_decisions_that_a_number_type_changes_lies_within_its_interval() -> None:
    world, model = gencls.world("shapes"), "shapes/pixel"
    seen = bias.look(world, "cue-conflict", [model])
    found = decisions.changed(seen, model, "bfloat16")
    assert found is not None
    each = [
        answers(scored.scores) for scored in (seen.scored[model], world.scores(seen.stimuli, model, dtype="bfloat16"))
    ]
    assert found == pytest.approx(np.mean(np.array(each[0]) != np.array(each[1])))
    assert 0 <= found.low <= found <= found.high < 0.2


def test_no_generative_model_is_said_by_an_empty_name() -> None:
    assert decisions.generative(gencls.world("full")) == ""
