"""Worlds: what analysis alone imports, and what a world refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gencls
from gencls import worlds
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive


@pytest.mark.parametrize(
    "module",
    [
        *("trials", "metrics", "figures", "likelihood.records", "likelihood.weightings", "worlds"),
        *("results", "analyses.beside", "analyses.coding", "analyses.drawings", "analyses.photographs"),
    ],
)
def test_analysis_needs_no_torch(module: str) -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Blocked(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"import gencls.{module}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_world_or_set_is_named() -> None:
    with pytest.raises(GenclsError, match="letters"):
        gencls.world("letters")
    with pytest.raises(GenclsError, match="sketches"):
        gencls.world("shapes").stimuli("sketches")


def test_only_stimuli_without_a_record_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    world, count = gencls.world("shapes"), worlds.COUNTS["photos"]
    found = {
        n: world.scores(world.stimuli("photos", n)[::-1], "shapes/resnet", check=check)
        for n, check in ((count, 0), (count + 3, 2), (count + 5, 0))
    }
    said = [(n - count, scored.origin, scored.checked) for n, scored in found.items()]
    assert said == [(0, "record", 0), (3, "mixed", 5), (5, "mixed", 2)]
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("GENCLS_FRESH", "1")
    afresh = world.scores(world.stimuli("photos", count + 5)[::-1], "shapes/resnet")
    assert afresh.origin == "computed"
    new, old = afresh.scores["log_probability"], found[count + 5].scores["log_probability"]
    assert old["stimulus"].values.tolist() == world.stimuli("photos", count + 5).table["name"].tolist()[::-1]
    np.testing.assert_allclose(old[:5], new[:5], rtol=1e-5)  # the record of the others was made on another machine
    np.testing.assert_allclose(old[5:], new[5:], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{}, {"model_digest": "other"}, {"plan": Exhaustive(2).key()}, {"seed": "1"}], ids=lambda c: "".join(c)
)
def test_scores_under_anything_else_are_never_mixed_in(
    change: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds.base, "RECORDS", tmp_path / "records")
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    world = gencls.world("shapes")
    stimuli, plan = world.stimuli("photos", 3), Exhaustive(1)
    clean = world.scores(stimuli, "shapes/pixel", plan=plan).scores
    marked = clean.isel(stimulus=[2, 0]).assign_attrs(change)
    marked["error"] = marked["error"] + 1000
    records.write(marked, tmp_path / "records" / "shapes" / "photos" / worlds.record_name("shapes/pixel"))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "another"))
    found = world.scores(stimuli, "shapes/pixel", plan=plan)
    assert found.origin == ("computed" if change else "mixed")
    taken = np.zeros(3) if change else np.array([1000, 0, 1000])
    np.testing.assert_allclose(
        found.scores["error"] - taken[:, None, None, None], clean["error"], rtol=1e-5, atol=0 if change else 1e-3
    )


def test_a_classifier_s_record_answers_under_any_noise_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path))
    world = gencls.world("shapes")
    assert world.scores(world.stimuli("photos", 4), "shapes/resnet", seed=1, prompt="the {}").origin == "record"
    assert not list(tmp_path.rglob("*.zip"))


@pytest.mark.parametrize("n", [0, -1])
@pytest.mark.parametrize("name", ["cue-conflict", "rotation", "illusions"])
def test_fewer_than_one_stimulus_is_refused(name: str, n: int) -> None:
    with pytest.raises(GenclsError, match="ask for at least one"):
        gencls.world("shapes").stimuli(name, n)


def test_fewer_than_no_checks_are_refused() -> None:
    world = gencls.world("shapes")
    with pytest.raises(GenclsError, match="check is -1"):
        world.scores(world.stimuli("photos", 4), "shapes/resnet", check=-1)


def test_fewer_than_one_real_stimulus_is_refused(mirror: Path) -> None:
    for world, name in (("full", "cue-conflict"), ("natural", "photos"), ("natural", "edge"), ("natural", "contrast")):
        for n in (0, -1):
            with pytest.raises(GenclsError, match="ask for at least one"):
                gencls.world(world).stimuli(name, n)


def test_a_model_that_nobody_knows_is_named_where_the_stimuli_are_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    world = gencls.world("natural")
    with pytest.raises(GenclsError, match="no model 'natural/latnt'"):
        world.scores(world.stimuli("edge"), "natural/latnt")
    with pytest.raises(GenclsError, match="not on record under these parameters"):
        world.scores(world.stimuli("edge"), "natural/pixel", dtype="bfloat16")
    assert (
        world.scores(world.stimuli("edge"), "natural/resnet", dtype="bfloat16").origin == "record"
    )  # float32, as always


def test_scores_are_bound_to_the_weights_that_were_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch of a hub's model moves on while it is opened: the digest after that is the record's."""
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path))
    said = iter(["before"])
    monkeypatch.setattr("gencls.models.zoo.digest", lambda model: next(said, "after"))
    world = gencls.world("shapes")
    found = world.scores(world.stimuli("photos", 2), "shapes/resnet")
    assert (found.origin, found.scores.attrs["model_digest"]) == ("computed", "after")
    assert world.scores(world.stimuli("photos", 2), "shapes/resnet").origin == "cached"
