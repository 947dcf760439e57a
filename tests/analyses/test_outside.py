"""Error consistency outside the 17 sets: known answers, people who saw different stimuli, who was asked what."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gencls import metrics, trials
from gencls.analyses import outside
from gencls.errors import GenclsError


def made(subj: str, answers: dict[str, str], set_name: str = "original") -> pd.DataFrame:
    """An observer's trials: stimulus → answer. `cat1-dog2` is a cat with the texture of a dog, `cat1` just a cat."""
    words = [s.split("-") for s in answers]
    return pd.DataFrame(
        {
            "subj": subj,
            "object_response": list(answers.values()),
            "category": [w[0].rstrip("0123456789") for w in words],
            "texture": [w[1].rstrip("0123456789") if len(w) > 1 else "" for w in words],
            "condition": "0",
            "stimulus": list(answers),
            "set": set_name,
        }
    )


def photos(subj: str, right: str) -> pd.DataFrame:
    return made(subj, {f"cat{k}": "cat" if r == "1" else "dog" for k, r in enumerate(right) if r != "."})


def test_the_mean_over_people_is_that_of_the_pairs() -> None:
    net, one, two = photos("net", "11001011"), photos("subject-01", "11000111"), photos("subject-02", "10101010")
    found = outside.consistency(pd.concat([net, one, two]), draws=50)
    pairs = [metrics.error_consistency(net, person, bootstrap=None).value for person in (one, two)]
    assert found["net"].value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found[outside.EACH_OTHER].value == pytest.approx(metrics.error_consistency(one, two, bootstrap=None).value)
    assert found["net"].n == 8 and found["net"].pairs == 2 and found["net"].naive is None


def test_a_pair_meets_on_what_both_saw() -> None:
    net, one, two = photos("net", "11001011"), photos("subject-01", "1100...."), photos("subject-02", "....0100")
    found = outside.consistency(pd.concat([net, one, two]), draws=20)
    assert found["net"].value == pytest.approx((1.0 - 0.6) / 2)  # 1011/0100: never alike, 0.375 by chance
    assert found["net"].n == 4
    assert math.isnan(found[outside.EACH_OTHER].value) and found[outside.EACH_OTHER].pairs == 0


def test_undefined_pairs_are_left_out_and_constant_ones_counted() -> None:
    table = pd.concat([photos("net", "1111"), photos("subject-01", "1111"), photos("subject-02", "1101")])
    found = outside.consistency(table, draws=20)["net"]
    assert (found.value, found.pairs, found.undefined_pairs, found.constant_pairs) == (0.0, 1, 1, 1)


def test_right_is_what_was_asked_for() -> None:
    answers = {"cat1-dog1": "cat", "cat2-dog1": "dog", "dog1-cat1": "dog", "dog2-cat1": "bear"}
    other = answers | {"cat2-dog1": "bear"}
    by_instruction = [
        outside.consistency(pd.concat([made("net", answers, s), made("subject-01", other, s)]), draws=20)["net"].value
        for s in ("cue-conflict-shape-instruction", "cue-conflict-texture-instruction")
    ]
    assert by_instruction == pytest.approx([1.0, 0.0])  # the shape: 1010 and 1010; the texture: 0100 and 0000


def test_shared_images_of_rotated_silhouettes_are_resampled_together() -> None:
    """20 silhouettes at 8 angles each, whatever the angle right or wrong: 160 rows say what 20 images say."""
    rng = np.random.default_rng(0)
    tables = []
    for subj in ("net", "subject-01"):
        right = rng.random(20) < 0.5
        answers = {f"cat{k}-dog{k % 4}-{45 * a}": "cat" if right[k] else "dog" for k in range(20) for a in range(8)}
        tables.append(made(subj, answers, "texture-filled-rotated"))
    found = outside.consistency(pd.concat(tables), draws=400)["net"]
    assert found.naive is not None and found.low <= found.value <= found.high
    assert found.high - found.low > 1.5 * (found.naive[1] - found.naive[0])


def test_the_number_of_stimuli_is_that_of_the_pair_that_shares_fewest() -> None:
    table = pd.concat([photos("net", "11001011"), photos("subject-01", "110010.."), photos("subject-02", ".....010")])
    assert outside.consistency(table, draws=20)["net"].n == 3


def test_one_experiment_and_people_are_needed() -> None:
    one, two = photos("subject-01", "10"), made("net", {"cat1": "cat"}, "greyscale")
    with pytest.raises(GenclsError, match="alone"):
        outside.consistency(pd.concat([one, two]))
    with pytest.raises(GenclsError, match="person"):
        outside.consistency(two)


def test_without_the_data_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENCLS_OFFLINE", "1")
    found, why = outside.recorded()
    assert found == {} and "texture-vs-shape" in why


def test_the_recorded_experiments(mirror: Path) -> None:
    table = trials.load("cue-conflict-shape-instruction", "all")
    found = outside.consistency(table, draws=50)
    net = table[table["subj"] == "AlexNet (texture-vs-shape)"]
    people = [p for s, p in table.groupby("subj") if metrics.is_person(str(s))]
    expected = np.mean([metrics.error_consistency(net, p, bootstrap=None).value for p in people])
    assert found["AlexNet (texture-vs-shape)"].value == pytest.approx(expected, abs=1e-12)
    assert found[outside.EACH_OTHER].pairs == 45
