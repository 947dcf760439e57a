"""The benchmark's ranking with intervals, and the naive interval beside the clustered one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import gencls
from gencls import figures, metrics
from gencls.analyses import agreement, robustness
from gencls.figures.rankings import ranking
from gencls.stimuli.sets import StimulusSet


def made(subj: str, right: np.ndarray, set_name: str = "edge") -> pd.DataFrame:
    """An observer's trials on `cat0-dog0`, `cat0-dog1`, …: 8 content and 6 texture images."""
    names = [f"cat{k // 6}-dog{k % 6}" for k in range(len(right))]
    cues = set_name == "cue-conflict"
    return pd.DataFrame(
        {
            "subj": subj,
            "object_response": np.where(right, "cat", "dog"),
            "category": "cat",
            "texture": "dog" if cues else "",
            "condition": "0",
            "stimulus": names,
            "set": set_name,
        }
    )


def flipped(right: np.ndarray, k: int) -> np.ndarray:
    """The same answers, but for the first k right and the first k wrong ones: equal accuracy, other errors."""
    other = right.copy()
    other[[*np.flatnonzero(right)[:k], *np.flatnonzero(~right)[:k]]] ^= True
    return other


RIGHT = np.random.default_rng(1).random(48) < 0.6
PEOPLE = ["subject-01", "subject-02"]
PERSONS = [made(p, RIGHT) for p in PEOPLE]


def test_a_copy_is_first_and_its_opposite_last_in_every_draw() -> None:
    table = pd.concat([*PERSONS, made("opposite", ~RIGHT), made("copy", RIGHT), made("near", flipped(RIGHT, 4))])
    found = agreement.ranking(table, PEOPLE, ["opposite", "copy", "near"], draws=200)
    assert list(found["observer"]) == ["copy", "near", "opposite"]
    copy = found.set_index("observer").loc["copy"]
    assert copy["value"] == pytest.approx((1.5 + 1 + 1) / 3)  # as accurate as `near`, and more consistent
    assert (copy["place"], copy["place_low"], copy["place_high"]) == (1, 1, 1)
    assert found["place_low"].le(found["place"]).all() and found["place_high"].ge(found["place"]).all()


def test_twins_share_every_place() -> None:
    twin = flipped(RIGHT, 5)
    table = pd.concat([*PERSONS, made("a", twin), made("b", twin), made("far", ~RIGHT)])
    found = agreement.ranking(table, PEOPLE, ["a", "b", "far"], draws=100).set_index("observer")
    assert found.loc["a"].equals(found.loc["b"].rename("a"))
    assert found["place"].to_dict() == {"a": 1, "b": 1, "far": 3}


def test_who_lacks_a_set_is_not_ranked_and_one_alone_neither() -> None:
    second = [made(s, RIGHT, "silhouette") for s in (*PEOPLE, "a", "b")]
    table = pd.concat([*PERSONS, *second, *(made(s, flipped(RIGHT, 3)) for s in ("a", "b", "c"))])
    assert set(agreement.ranking(table, PEOPLE, ["a", "b", "c"], draws=20)["observer"]) == {"a", "b"}
    assert not len(agreement.ranking(table, PEOPLE, ["a"], draws=20))
    assert not len(agreement.ranking(table, PEOPLE[:1], ["a", "b"], draws=20))


def test_a_group_that_saw_different_sets_ranks_those_who_saw_them_all() -> None:
    """Two people on edge, two others on silhouette; one observer saw both, and more than that."""
    others = ["subject-03", "subject-04"]
    table = pd.concat(
        [*PERSONS, *(made(o, RIGHT, "silhouette") for o in others)]
        + [made(o, flipped(RIGHT, 3), name) for o in ("a", "b") for name in ("edge", "silhouette", "sketch")]
        + [made("m", RIGHT)]
    )
    found = agreement.ranking(table, [*PEOPLE, *others], ["m", "a", "b"], draws=20)
    assert set(found["observer"]) == {"a", "b"}


def test_without_a_ceiling_nothing_is_needed_to_reach_it() -> None:
    always = [made(p, np.ones(48, bool)) for p in PEOPLE]
    found = agreement.trials_needed(pd.concat([*always, made("net", RIGHT)]), PEOPLE, ["net"])
    assert found[["chance", "ceiling"]].isna().all(axis=None)


def test_the_naive_interval_ignores_shared_images() -> None:
    by_content = np.repeat([True, False] * 4, 6)  # right or wrong with the content image alone
    other = by_content.copy()
    other[:6] ^= True
    table = pd.concat([*(made(p, by_content, "cue-conflict") for p in PEOPLE), made("net", other, "cue-conflict")])
    wide, narrow = (agreement.closeness(table, PEOPLE, ["net"], clustered=c)[0]["net"] for c in (True, False))
    assert wide.value == pytest.approx(narrow.value, abs=1e-12)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_one_pair_has_the_interval_that_metrics_give_it() -> None:
    """Stimuli that share images but whose answers do not hang on them: resampling both images alone would make the interval 1.7 times as wide."""
    rng = np.random.default_rng(0)
    first, second = (made(o, rng.random(480) < 0.7, "cue-conflict") for o in ("subject-01", "net"))
    for table in (first, second):
        table["stimulus"] = [f"cat{k // 12}-dog{(k + k // 12) % 24}" for k in range(480)]  # 40 contents, 24 textures
    found, _ = agreement.closeness(pd.concat([first, second]), ["subject-01"], ["net"], draws=4000)
    alone = metrics.error_consistency(first, second, metrics.Bootstrap(draws=4000))
    assert found["net"].value == pytest.approx(alone.value)
    assert found["net"].high - found["net"].low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_overall_accuracy_on_stimuli_that_share_images_has_the_interval_that_metrics_give_it() -> None:
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 12)  # by the content image
    right[::5] ^= True
    table = made("net", right, "cue-conflict").assign(
        stimulus=[f"cat{k // 12}-dog{(k + k // 12) % 24}" for k in range(480)]
    )
    found, alone = robustness.ood_accuracy(table)["net"], metrics.accuracy(table, metrics.Bootstrap(draws=4000))
    assert found.value == alone.value
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.07)
    naive = alone.naive[1] - alone.naive[0]
    assert alone.high - alone.low > 1.5 * naive


def test_a_difference_of_equally_near_observers_is_found_about_as_often_as_it_should_be() -> None:
    """Nobody's errors hang on anyone's, 100 times over: p below .2 in at most a fifth, but in far more than the 3% that undamped draws leave."""
    rng, names, below = np.random.default_rng(0), [f"cat{k // 6}-dog{k % 24}" for k in range(240)], 0
    for _ in range(100):
        tables = [
            made(o, rng.random(240) < 0.6, "cue-conflict").assign(stimulus=names) for o in ("subject-01", "a", "b")
        ]
        tests = agreement.closeness(pd.concat(tables), ["subject-01"], ["a", "b"], draws=200)[1]
        below += float(tests["p"].iloc[0]) < 0.2
    assert 7 <= below <= 30


def test_who_lacks_a_set_is_compared_on_the_sets_that_both_answered() -> None:
    """Two of the same answers on `edge`; one of them also saw a set on which everybody agrees."""
    net = flipped(RIGHT, 5)
    easy = [made(o, RIGHT, "silhouette") for o in (*PEOPLE, "both")]
    table = pd.concat([*PERSONS, *easy, made("both", net), made("one", net)])
    found, tests = agreement.closeness(table, PEOPLE, ["both", "one"])
    assert found["both"].value > found["one"].value + 0.1 and (found["both"].conditions, found["one"].conditions) == (
        2,
        1,
    )
    pair = tests.set_index(["observer_a", "observer_b"]).loc[("both", "one")]
    assert (pair["value"], pair["low"], pair["high"], pair["p_holm"]) == (0, 0, 0, 1)
    ceiling = tests.set_index(["observer_a", "observer_b"]).loc[("one", "each other")]
    assert ceiling["value"] == pytest.approx(found["one"].value - 1)


def test_all_draws_are_means_over_the_same_conditions() -> None:
    """The one stimulus that everybody misses is in no draw in e⁻¹ of them, where κ is 0/0; left out there, it would be the other condition's alone."""
    net, once = flipped(RIGHT, 12), np.arange(48) > 0
    easy = [made(o, once, "silhouette") for o in (*PEOPLE, "net")]
    found = agreement.closeness(pd.concat([*PERSONS, *easy, made("net", net)]), PEOPLE, ["net"])[0]["net"]
    alone = agreement.closeness(pd.concat([*PERSONS, made("net", net)]), PEOPLE, ["net"])[0]["net"]
    assert found.value == pytest.approx((alone.value + 1) / 2)
    assert found.low == pytest.approx((alone.low + 1) / 2, abs=0.05)


def test_a_condition_that_one_has_no_kappa_in_does_not_enter_the_difference() -> None:
    always = np.ones(48, bool)
    net = flipped(RIGHT, 5)
    easy = [
        *(made(p, always, "silhouette") for p in PEOPLE),
        made("a", always, "silhouette"),
        made("b", net, "silhouette"),
    ]
    found, tests = agreement.closeness(pd.concat([*PERSONS, *easy, made("a", net), made("b", net)]), PEOPLE, ["a", "b"])
    assert (found["a"].conditions, found["b"].conditions) == (1, 2)
    assert found["b"].value < found["a"].value  # κ = 0 with those who are always right
    assert tests.set_index(["observer_a", "observer_b"]).loc[("a", "b"), "value"] == 0


def test_trials_needed_are_those_of_the_measure() -> None:
    net = flipped(RIGHT, 5)
    persons = [made("subject-01", RIGHT), made("subject-02", flipped(RIGHT, 2))]
    table = pd.concat([*persons, made("net", net), made("always", np.ones(48, bool)), made("copy", RIGHT)])
    found = agreement.trials_needed(table, PEOPLE, ["net", "always", "copy"]).set_index("observer")
    kappa = [float(metrics.error_consistency(table[table["subj"] == "net"], p, None)) for p in persons]
    own, ceiling = RIGHT.mean(), float(metrics.error_consistency(*persons, None))
    assert found.at["net", "copied"] == pytest.approx(np.mean(kappa))  # equal accuracies: κ itself
    assert found.at["net", "chance"] == metrics.kappa_trials(float(np.mean(kappa)), own, own)
    assert found.at["net", "ceiling"] == metrics.kappa_difference_trials(float(np.mean(kappa)), ceiling, own, own, own)
    assert found.loc["always"].isna().all()
    assert found.at["copy", "chance"] < found.at["net", "chance"]


def test_the_figure_says_the_places() -> None:
    table = pd.concat([*PERSONS, made("opposite", ~RIGHT), made("copy", RIGHT)])
    ax = ranking(None, agreement.ranking(table, PEOPLE, ["opposite", "copy"], draws=50))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["copy", "opposite"]
    assert "copy 1.0, places 1 to 1; opposite 2.0, places 2 to 2" in figures.describe(ax)


def test_a_plain_difference_stands_among_hundreds_of_comparisons() -> None:
    """210 differences: with 1,000 draws the least p, 2 ÷ 1,000, times 210 is far above 0.05."""
    guessing = {f"guess{i}": np.random.default_rng(i).random(48) < 0.6 for i in range(2, 21)}
    table = pd.concat([*PERSONS, made("copy", RIGHT), *(made(name, right) for name, right in guessing.items())])
    tests = agreement.closeness(table, PEOPLE, ["copy", *guessing])[1]
    assert len(tests) == 210
    against = tests[(tests[["observer_a", "observer_b"]] == "copy").any(axis=1)]
    against = against[against["value"].abs() > 0.5]  # not the group, which the copy equals
    assert len(against) > 15 and (against["p_holm"] < 0.05).all()


def shown(tables: list[pd.DataFrame], stimuli: dict[str, StimulusSet], most: int = 3) -> tuple:
    """What the explorer of two observers' failures shows, by first and second observer and set."""
    seen = robustness.Answered(gencls.world("shapes"), pd.concat(tables, ignore_index=True), stimuli)
    bars, said, pictures, images = agreement.shared_failures(seen, seen.observers, seen.sets, most, lambda image: image)
    at = ["first", "second", "set"]
    return bars.set_index([*at, "outcome"])["stimuli"], said.set_index(at)["text"], pictures.set_index(at), images


def test_the_pictures_are_those_that_both_miss_with_what_each_said() -> None:
    table = made("a", RIGHT)[["stimulus", "category", "condition", "texture"]].rename(columns={"stimulus": "name"})
    edges = StimulusSet("edge", table, lambda i: np.full((2, 2, 3), i, np.uint8), ["cat", "dog"])
    other = flipped(RIGHT, 4)
    a, b = made("a", RIGHT), made("b", other).sample(frac=1, random_state=3)
    alone = made("c", RIGHT, "silhouette")
    bars, said, pictures, images = shown([a, b, alone], {"edge": edges})
    counted = bars["a", "b", "edge"]
    assert (
        counted["both wrong"] == (~RIGHT & ~other).sum()
        and counted["only the first"] == 4 == counted["only the second"]
    )
    missed = {f"cat{k // 6}-dog{k % 6}": k for k in np.flatnonzero(~RIGHT & ~other)}
    first, second = pictures.loc[("a", "b", "edge")], pictures.loc[("b", "a", "edge")]
    assert len(first) == 3 and set(first["image"]) <= set(missed) and list(first["image"]) == list(second["image"])
    assert set(first["caption"]) == {"cat: the first says dog, the second dog"}
    assert all((images[name] == missed[name]).all() for name in first["image"])
    kappa = metrics.error_consistency(a, b, robustness.QUICK)
    text = f"48 stimuli; κ = {kappa:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]."
    assert said["a", "b", "edge"] == text == said["b", "a", "edge"]
    assert said["a", "c", "edge"] == "No trials of these two on this set."
    assert said["a", "a", "edge"] == "Choose two different observers."


def test_kappa_of_several_conditions_is_their_mean_and_not_that_of_the_pool() -> None:
    """Independent errors in an easy and in a hard condition: pooled, κ would be the difficulty's."""
    rng = np.random.default_rng(2)
    tables, kappas = [], []
    for condition, accuracy in (("90", 0.95), ("180", 0.2)):
        two = [made(o, rng.random(48) < accuracy, "rotation").assign(condition=condition) for o in "ab"]
        tables += two
        kappas.append(float(metrics.error_consistency(*two, None)))
    a, b = (pd.concat(tables[k::2], ignore_index=True) for k in (0, 1))
    assert metrics.error_consistency(a, b, None) > np.mean(kappas) + 0.3
    assert shown(tables, {})[1]["a", "b", "rotation"].startswith(f"96 stimuli; κ = {np.mean(kappas):.2f} [")
