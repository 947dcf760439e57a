"""Scores: the same whatever the batch, order or interruption; records; elimination."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.likelihood.scoring import differ, score
from gencls.likelihood.weightings import answers, probabilities, weighted
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import DiscriminativeModel
from gencls.models.noise import noise
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import ShapesWorld
from gencls.training.pixel import pipeline

PHOTOS = ShapesWorld().stimuli("photos", 6)
PLAN = Exhaustive(timesteps=3, draws=2)
CLASSES = ("star", "heart", "moon", "tree", "fish")


def _model(budget: int = 256, seed: int = 0) -> DiffusionModel:
    """A small network with random weights everywhere, the zeros of its initialisation too."""
    pipe = pipeline(seed, width=64, patch_size=8, trunk_depth=1, text_depth=1)
    torch.manual_seed(seed)
    for parameter in pipe.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return DiffusionModel(pipe, "toy", budget)


def _score(model: DiffusionModel | None = None, stimuli=PHOTOS, **options) -> xr.Dataset:
    options = {"plan": PLAN, "classes": CLASSES, "progress": False, **options}
    return score(model or _model(), stimuli, **options)


def test_every_pair_is_spent_and_labelled() -> None:
    scores = _score()
    assert scores["error"].dims == ("stimulus", "class", "t", "draw")
    assert scores["error"].shape == (6, 5, 3, 2)
    assert scores["error"].dtype == np.float32
    assert (scores["error"] > 0).all()
    assert scores["stimulus"].values.tolist() == PHOTOS.table["name"].tolist()
    assert scores["category"].values.tolist() == PHOTOS.table["category"].tolist()
    assert scores["class"].values.tolist() == list(CLASSES)
    assert float(scores["quadrature"].sum()) == pytest.approx(1)
    # Classes and draws matter, or the tests below would test nothing.
    assert float(scores["error"].std("class").min()) > 0
    assert float(scores["error"].std("draw").min()) > 0


@pytest.mark.parametrize("plan", [PLAN, Staged(timesteps=4, keep=(3,), draws=2)])
@pytest.mark.parametrize("budget", [1, 5, 7, 12, 1000])
def test_the_budget_changes_nothing(plan: Exhaustive, budget: int) -> None:
    a, b = _score(plan=plan), _score(_model(budget), plan=plan)
    np.testing.assert_allclose(a["error"], b["error"], rtol=1e-5)


def test_order_and_company_change_nothing() -> None:
    whole = _score()["error"]
    np.testing.assert_allclose(_score(stimuli=PHOTOS[::-1])["error"], whole[::-1], rtol=1e-5)
    np.testing.assert_allclose(_score(stimuli=PHOTOS[[4]])["error"], whole[[4]], rtol=1e-5)
    fewer = _score(classes=("moon", "star"))["error"]
    np.testing.assert_allclose(fewer, whole.sel({"class": ["moon", "star"]}), rtol=1e-5)


def test_seed_and_key_change_the_noise_and_the_prompt_the_text() -> None:
    base = _score()
    assert differ(_score(), base) == 0
    assert differ(_score(seed=1), base) > 1e-3
    assert differ(_score(keys=[f"other {i}" for i in range(6)]), base) > 1e-3
    assert differ(_score(prompt="the {}"), base) > 1e-5
    assert differ(_score(keys=PHOTOS.table["name"].tolist()), base) == 0


def test_a_record_is_not_kept_under_other_keys(tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="not by other keys"):
        _score(keys=[f"other {i}" for i in range(6)], record=tmp_path / "r.zarr.zip")


def test_a_file_that_was_left_empty_or_cut_is_scored_again(tmp_path: Path) -> None:
    work = records.Work(tmp_path / "part", "made")
    work.put("digest", "key", np.arange(4.0))
    (file,) = (tmp_path / "part").iterdir()
    whole = file.read_bytes()
    for left in (b"", whole[: len(whole) // 2], whole[:-3]):
        file.write_bytes(left)
        assert work.get("digest", "key") is None
    file.write_bytes(whole)
    assert np.array_equal(work.get("digest", "key"), np.arange(4.0))


def test_classes_are_bound_one_by_one() -> None:
    one, other = (records.binding("m", "clip", PLAN, 0, "{}", c)["classes"] for c in (["a|b", "c"], ["a", "b|c"]))
    assert one != other
    assert (
        records.binding("m", "clip", PLAN, 0, "{}", ["a", "b"])["classes"] == "a|b"
    )  # as the records that ship have it


def test_scores_differ_relative_to_their_size_and_near_zero_to_a_thousandth_of_the_largest() -> None:
    old, fresh = (xr.Dataset({"error": ("x", np.array(v))}) for v in ([1000.0, 0.0, 9.0], [1000.0, 0.5, 10.0]))
    assert differ(fresh, old) == pytest.approx(0.5)


def test_t_is_where_the_schedule_has_a_level() -> None:
    scores = _score(plan=Exhaustive(timesteps=7))
    np.testing.assert_array_equal(scores["t"], scores["timestep"] / 1000)
    assert (abs(scores["t"].values - Exhaustive(timesteps=7).t) <= 0.0005).all()


@pytest.mark.parametrize("plan", [Exhaustive(timesteps=1000), Staged(timesteps=1000, keep=(2,))])
def test_the_end_without_image_is_left_out(plan: Exhaustive) -> None:
    """With zero terminal SNR the last timestep shows noise alone: α is 0 there, and no score may hang on it."""
    model = _model()
    bars = model.pipeline.scheduler.alphas_cumprod.clone()
    bars[-1] = 0
    model.pipeline.scheduler.alphas_cumprod = bars
    scores = _score(model, PHOTOS[[0]], plan=plan, classes=CLASSES[:3])
    assert float(scores["t"].max()) == 0.998
    assert np.isfinite(scores["log_snr"]).all()
    assert float(scores["quadrature"].sum()) == pytest.approx(1)
    assert answers(scores)[0] in CLASSES


# -- noise -----------------------------------------------------------------------------------------------------------


def test_noise_is_standard_normal_and_a_pure_function() -> None:
    from scipy import stats

    one = noise(0, "a", 31.0, 0, (3, 64, 64))
    assert one.dtype == torch.float32
    assert torch.equal(one, noise(0, "a", 31.0, 0, (3, 64, 64)))
    assert stats.kstest(one.flatten().numpy(), "norm").pvalue > 1e-3
    others = [noise(1, "a", 31.0, 0, (3, 64, 64)), noise(0, "b", 31.0, 0, (3, 64, 64))]
    others += [noise(0, "a", 94.0, 0, (3, 64, 64)), noise(0, "a", 31.0, 1, (3, 64, 64))]
    for other in others:
        assert abs(np.corrcoef(one.flatten(), other.flatten())[0, 1]) < 4 / np.sqrt(one.numel())


def test_noise_is_the_same_on_every_platform() -> None:
    known = [1.2637817, 1.0857846, 1.0944664, 0.63817805]
    assert noise(0, "test-photos-00000", 31.0, 0, (4,)).tolist() == pytest.approx(known, rel=1e-6)


def test_classes_share_the_noise() -> None:
    """Two names for one class: the same prompt embedding gives the same error only under the same noise."""
    model = _model()
    x0 = model.encode([PHOTOS[0].image])
    conditions = model.conditions(["a star", "a star"])
    drawn = noise(0, "a", 500.0, 0, tuple(x0.shape[1:]))[None]
    errors = model.errors(x0, drawn, torch.tensor([0.5]), torch.tensor([[0, 1]]), conditions)
    assert float(errors[0, 0]) == pytest.approx(float(errors[0, 1]), rel=1e-6)


# -- records ---------------------------------------------------------------------------------------------------------


def test_a_record_holds_what_was_scored_and_is_reused_for_any_part(tmp_path: Path) -> None:
    path = tmp_path / "toy.zarr.zip"
    fresh = _score(record=path, model_digest="d")
    before = path.stat().st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    read = records.read(path)
    np.testing.assert_array_equal(read["error"], fresh["error"])
    assert read.attrs == fresh.attrs
    part = _score(stimuli=PHOTOS[[4, 1]], record=path, model_digest="d")
    np.testing.assert_array_equal(part["error"], fresh["error"].isel(stimulus=[4, 1]))
    assert part["stimulus"].values.tolist() == [PHOTOS[4].name, PHOTOS[1].name]
    assert answers(read) == answers(fresh)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change", [{"model_digest": "other"}, {"seed": 1}, {"plan": Exhaustive(2)}, {"prompt": "a {}"}]
)
def test_a_record_of_something_else_is_not_taken_for_it(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "toy.zarr.zip"
    _score(record=path, model_digest="d")
    content = path.read_bytes()
    with pytest.raises(GenclsError, match=next(iter(change))):
        _score(record=path, **{"model_digest": "d", **change})
    assert path.read_bytes() == content


def test_only_what_a_record_lacks_is_scored_and_both_stand_in_the_order_asked(tmp_path: Path) -> None:
    path, asked = tmp_path / "toy.zarr.zip", PHOTOS[[5, 1, 4, 0]]
    kept = _score(stimuli=PHOTOS[:3], record=path)
    marked = kept.assign(error=kept["error"] + 1000)  # what is taken from the record can be told from what is scored
    records.write(marked, path)
    found, clean = _score(stimuli=asked, record=path), _score(stimuli=asked)
    assert found["stimulus"].values.tolist() == asked.table["name"].tolist()
    taken = np.array([0, 1000, 0, 1000])[:, None, None, None]
    np.testing.assert_allclose(found["error"] - taken, clean["error"], rtol=1e-5, atol=1e-4)
    assert sorted(records.read(path)["stimulus"].values) == sorted(PHOTOS[[0, 1, 2, 4, 5]].table["name"])
    np.testing.assert_array_equal(_score(stimuli=asked, record=path)["error"], found["error"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "toy.zarr.zip"
    path.write_bytes(b"not a record")
    with pytest.raises(GenclsError, match="no record"):
        _score(record=path)


_CHILD = """
import sys
sys.path.insert(0, {here!r})
import importlib.util
spec = importlib.util.spec_from_file_location("scoring_tests", {file!r})
tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)
from pathlib import Path
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import ShapesWorld
photos = ShapesWorld().stimuli("photos", 40)
tests._score(tests._model(5), photos, record=Path({record!r}), plan=tests.Exhaustive(8, 4))
"""


def test_a_killed_run_is_taken_up_again_and_ends_the_same(tmp_path: Path) -> None:
    record = tmp_path / "toy.zarr.zip"
    part = tmp_path / "toy.zarr.zip.part"
    code = _CHILD.format(here=str(Path(__file__).parent), file=__file__, record=str(record))
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while len(list(part.glob("*.npy"))) < 5 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not record.exists()
    kept = {p: p.read_bytes() for p in part.glob("*.npy")}
    assert len(kept) >= 5

    # What was kept is taken, not computed again: a mark left in one file stands in the result.
    photos = ShapesWorld().stimuli("photos", 40)
    clean = _score(_model(16), photos, plan=Exhaustive(8, 4))
    marked = next(iter(sorted(kept)))
    np.save(marked, np.load(marked) + 1000)
    resumed = _score(_model(16), photos, record=record, plan=Exhaustive(8, 4))
    difference = (resumed["error"] - clean["error"]).values
    rows = np.abs(difference).max((1, 2, 3)) > 500
    assert rows.sum() == 1
    np.testing.assert_allclose(resumed["error"].values[~rows], clean["error"].values[~rows], rtol=1e-5)
    assert not part.exists()
    assert record.exists()


def test_two_runs_at_once_both_stand_on_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one run scores four stimuli, another begins, scores two others on the same record and ends."""
    record, photos = tmp_path / "toy.zarr.zip", ShapesWorld().stimuli("photos", 6)
    put, begun = records.Work.put, []

    def slow(self: records.Work, *given: Any, **how: Any) -> None:
        if not begun:
            begun.append(True)
            _score(_model(16), photos[4:], record=record)
        put(self, *given, **how)

    monkeypatch.setattr(records.Work, "put", slow)
    first = _score(_model(16), photos[:4], record=record)
    whole = records.read(record)
    assert sorted(whole["stimulus"].values) == sorted(photos.table["name"])
    xr.testing.assert_equal(whole["error"].sel(stimulus=first["stimulus"]), first["error"])
    assert not Path(f"{record}.part").exists() and not list(tmp_path.glob("*.lock"))


# -- elimination -------------------------------------------------------------------------------------------------------


def test_elimination_keeps_the_best_so_far_and_spends_nothing_on_the_rest() -> None:
    plan = Staged(timesteps=4, keep=(2,), draws=1)
    staged, full = _score(plan=plan), _score(plan=Exhaustive(timesteps=4))
    first = full.isel(t=[0, 2])
    factor = first["quadrature"] * np.exp(-7 * first["t"])
    so_far = (first["error"].mean("draw") * factor).sum("t").values
    kept = np.argsort(so_far, axis=1)[:, :2]
    for i in range(6):
        dropped = sorted(set(range(5)) - set(kept[i]))
        np.testing.assert_allclose(staged["error"][i, :, [0, 2]], full["error"][i, :, [0, 2]], rtol=1e-5)
        np.testing.assert_allclose(staged["error"][i, kept[i]], full["error"][i, kept[i]], rtol=1e-5)
        assert np.isnan(staged["error"][i, dropped][:, [1, 3]]).all()
    assert (np.isfinite(weighted(staged)).sum("class") == 2).all()


def test_an_eliminating_record_answers_under_its_own_weighting_only() -> None:
    scores = _score(plan=Staged(timesteps=4, keep=(2,)))
    answers(scores, "exp(-7t)")
    answers(_score(plan=Staged(timesteps=4, keep=(2,), weighting="exp(-7.0t)")), "exp(-7.0t)")
    for other in ("uniform", "exp(-3t)", lambda t, s: t):
        with pytest.raises(GenclsError, match="dropped classes"):
            weighted(scores, other)
    with pytest.raises(GenclsError, match="exhaustive"):
        probabilities(scores)


def test_eliminating_under_a_weighting_that_no_stage_sees_is_refused() -> None:
    with pytest.raises(GenclsError, match="zero"):
        _score(plan=Staged(timesteps=4, keep=(2,), weighting="uniform on 0.3-0.4"))
    with pytest.raises(GenclsError, match="steep"):
        _score(plan=Staged(timesteps=4, keep=(2,), weighting="steep"))


@pytest.mark.parametrize("classes", [("star",), ("star", "star"), ()])
def test_fewer_than_two_classes_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(GenclsError, match="at least two"):
        _score(classes=classes)


def test_a_record_of_a_classifier_that_is_shown_noise_is_of_one_seed(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, len(CLASSES)))
    model, record = DiscriminativeModel(network, "net", CLASSES, 32, noise=0.5), tmp_path / "net.zarr.zip"
    options: dict[str, Any] = {"classes": CLASSES, "record": record, "progress": False}
    score(model, PHOTOS, seed=0, **options)
    with pytest.raises(GenclsError, match="made with seed '0', not '1'"):
        score(model, PHOTOS, seed=1, **options)


def test_two_stimuli_of_one_picture_keep_their_own_noise(tmp_path: Path) -> None:
    """The noise goes by the name: a record must not answer for a stimulus that merely looks the same."""
    table = PHOTOS.table.iloc[[0, 0]].assign(name=["one", "other"])
    twins = StimulusSet("twins", table, lambda _: PHOTOS[0].image, PHOTOS.categories)
    fresh = _score(stimuli=twins, record=tmp_path / "toy.zarr.zip")
    assert differ(fresh.isel(stimulus=[0]), fresh.isel(stimulus=[1])) > 1e-3
    again = _score(stimuli=twins[::-1], record=tmp_path / "toy.zarr.zip")
    np.testing.assert_array_equal(again["error"], fresh["error"][::-1])
