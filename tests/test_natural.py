"""The natural world: real stimuli at 64×64, the people who saw them, and records that stand without the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gencls
from gencls import metrics, worlds
from gencls.analyses import photographs, robustness
from gencls.analyses.bias import look
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.scoring import score
from gencls.models.noised import NoisedClassifier
from gencls.models.pixel import PatchClassifier, cosine_schedule
from gencls.stimuli import benchmark, tiny_imagenet
from gencls.stimuli.pictures import prepare


def test_the_real_stimuli_are_those_whose_cues_both_are_known_and_differ(mirror: Path) -> None:
    world = gencls.world("natural")
    conflict = world.stimuli("cue-conflict")
    table = conflict.table
    assert {name: len(world.stimuli(name)) for name in worlds.REAL_SETS} == {
        "cue-conflict": 550, "edge": 110, "silhouette": 110,
    }  # fmt: skip
    assert set(table["category"]) == set(table["texture"]) == set(world.categories)
    assert (table["category"] != table["texture"]).all()
    full = benchmark.stimuli("cue-conflict")
    row = list(full.table["name"]).index(table["name"][7])
    np.testing.assert_array_equal(conflict[7].image, prepare(full[row].image, 64))


def test_people_saw_the_same_stimuli_and_may_answer_with_other_categories(mirror: Path) -> None:
    world = gencls.world("natural")
    answers = pd.concat(world.people("cue-conflict").values())["object_response"]
    assert (len(answers), (answers == "na").sum()) == (5500, 46)
    assert (~answers.isin([*world.categories, "na"])).sum() == 385
    assert world.people("photos") == {}
    few = look(world, "cue-conflict", ["natural/resnet"], n=40)
    for table in (few.trials("natural/resnet"), *few.people.values(), *few.networks.values()):
        assert set(table["stimulus"]) == set(few.stimuli.table["name"])  # everyone on the same
    with pytest.raises(GenclsError, match="there is no stimulus to score"):
        world.scores(few.stimuli[:0], "natural/resnet")


def test_every_condition_shows_the_same_photographs(mirror: Path) -> None:
    world = gencls.world("natural")
    contrast = world.stimuli("contrast", 11)
    assert contrast.conditions == ["c30", "c10", "c05"]
    assert contrast.table["category"].value_counts().to_dict() == dict.fromkeys(world.categories, 3)
    spread = [contrast.where(condition=c).images().astype(float).std() for c in contrast.conditions]
    assert spread[0] > spread[1] > spread[2]


def test_a_record_stands_without_the_data(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    labels = [entry.wnid for entry in tiny_imagenet.classes()]
    network = PatchClassifier(sample_size=64, patch_size=16, width=64, heads=1, depth=1, classes=26, labels=labels)
    model = NoisedClassifier(network, "natural/denoising-classifier", cosine_schedule().alphas_cumprod)
    world = gencls.world("natural")
    shown = world.stimuli("edge", 22)
    place = tmp_path / "natural" / "edge" / worlds.record_name("natural/denoising-classifier")
    digests = shown.stimulus_digests()
    made = score(model, shown, plan=world.plan("edge"), record=place, progress=False)
    monkeypatch.setattr(worlds.base, "RECORDS", tmp_path)
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_OFFLINE", "1")
    monkeypatch.setattr("gencls.models.weights.CHECKOUT", tmp_path)
    alone = gencls.world("natural").stimuli("edge")
    assert alone.missing and list(alone.table["name"]) == list(shown.table["name"])
    assert alone.stimulus_digests() == digests
    found = world.scores(alone[3:9], "natural/denoising-classifier", check=32)
    assert (found.origin, found.checked) == ("record", 0)
    np.testing.assert_array_equal(found.scores["error"], records.read(place)["error"][3:9])
    np.testing.assert_array_equal(found.scores["error"], made["error"][3:9])
    with pytest.raises(GenclsError, match="pictures of edge are not here"):
        alone[0]
    with pytest.raises(GenclsError, match="stimuli are not here"):
        world.scores(alone, "natural/denoising-classifier", seed=5)
    with pytest.raises(GenclsError):
        gencls.world("natural").stimuli("silhouette")


@pytest.mark.parametrize("n", [None, 6])
def test_manipulated_photographs_are_the_same_with_the_data_and_without(
    n: int | None, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = gencls.world("natural").stimuli("contrast", n)
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_OFFLINE", "1")
    alone = gencls.world("natural").stimuli("contrast", n)
    assert alone.missing and not here.missing
    assert list(alone.table["name"]) == list(here.table["name"]) and len(here) == 3 * (n or 55)
    assert alone.stimulus_digests() == here.stimulus_digests()


def test_no_page_shows_a_photograph_of_tiny_imagenet(mirror: Path) -> None:
    world = gencls.world("natural")
    seen = robustness.Answered(
        world, pd.DataFrame(columns=["set", "subj"]), {"contrast": world.stimuli("contrast", 11)}
    )
    shown, images = robustness.manipulated_pictures(seen, [], ["contrast"], 3, robustness.small)
    assert shown.empty and not images


@pytest.mark.parametrize("name", worlds.REAL_SETS)
def test_the_shipped_weights_give_the_numbers_on_record(mirror: Path, name: str) -> None:
    world = gencls.world("natural")
    here = [model for model in world.models if (worlds.RECORDS / "natural" / name / worlds.record_name(model)).exists()]
    assert "natural/pixel" in here and "natural/resnet" in here
    for model in here:
        bare = ("pixel32", "tokens", "latent-classifier", "ar8", "tokens8")  # 80 MB of weights ship at most
        shipped = model.removeprefix("natural/") not in bare
        assert world.scores(world.stimuli(name, 33), model, check=2).checked == (2 if shipped else 0)


def test_what_is_computed_from_people_is_what_ships(mirror: Path) -> None:
    shipped = pd.read_csv(photographs.PEOPLE, keep_default_na=False, na_values=["nan"])
    world = gencls.world("natural")
    people = {o: metrics.shape_bias(t, None, None) for o, t in world.people("cue-conflict").items()}
    rows = shipped[(shipped["measure"] == "shape bias") & shipped["observer"].isin(people)].set_index("observer")
    assert len(rows) == len(people) == 10
    for person, bias in people.items():
        assert rows.loc[person, "value"] == pytest.approx(float(bias), abs=1e-5)
    assert not {"trial", "imagename", "object_response"} & set(shipped)  # no trial of anybody


def test_answers_outside_the_categories_and_none_are_left_out_of_kappa(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, model = gencls.world("natural"), "natural/resnet"

    def by_hand(n: int | None) -> float:
        seen, kappas = look(world, "cue-conflict", [model], n=n), []
        ours = seen.trials(model).set_index("stimulus")["object_response"]
        for person in seen.people.values():
            own = person[person["object_response"].isin(world.categories)].set_index("stimulus")  # no `na`
            a, b = ours[own.index] == own["category"], own["object_response"] == own["category"]
            chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
            kappas.append(((a == b).mean() - chance) / (1 - chance))
        return float(np.mean(kappas))

    shipped = pd.read_csv(photographs.PEOPLE, keep_default_na=False, na_values=["nan"])
    assert value_of(shipped, model) == pytest.approx(by_hand(None), abs=1e-5)
    monkeypatch.setattr(photographs, "REAL_SETS", ("cue-conflict",))  # the others take their time
    assert value_of(photographs.computed(world, [model], n=55), model) == pytest.approx(by_hand(55))


def value_of(table: pd.DataFrame, model: str) -> float:
    rows = photographs.of_people(table, photographs.WITHIN)
    return float(rows.set_index("observer").at[model, "value"])


def test_a_part_of_the_photographs_is_on_record(mirror: Path) -> None:
    """The weights of natural/pixel32 do not ship, so that a photograph without a record would be an error."""
    world = gencls.world("natural")
    assert world.scores(world.stimuli("photos", 44), "natural/pixel32").origin == "record"
