"""The measures on the real trials: published numbers, and the obvious implementation on all 17 sets."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import plain
import pytest

from gencls import metrics, trials
from gencls.metrics import Bootstrap
from gencls.metrics.tables import image_clusters

PUBLISHED = {  # shape and texture decisions, shape bias (Geirhos et al. 2019; issue and definitions)
    "AlexNet (texture-vs-shape)": (283, 376, 0.4294),
    "GoogLeNet (texture-vs-shape)": (228, 503, 0.3119),
    "VGG-16 (texture-vs-shape)": (130, 625, 0.1722),
    "ResNet-50 (texture-vs-shape, PyTorch)": (162, 572, 0.2207),
    "ResNet-50 (texture-vs-shape, SIN)": (586, 141, 0.8061),
    "AlexNet (texture-vs-shape, PyTorch)": (182, 537, 0.2531),
}


@pytest.fixture
def cue_conflict(mirror: Path) -> pd.DataFrame:
    return trials.load("cue-conflict", "all")


def test_published_shape_biases(cue_conflict: pd.DataFrame) -> None:
    biases = metrics.shape_bias(cue_conflict, by="subj", bootstrap=None)
    for network, (shape, texture, bias) in PUBLISHED.items():
        e = biases[network]
        assert (e.shape, e.texture, round(e, 4), e.trials) == (shape, texture, bias, 1200)
    people = metrics.mean_over_people({k: v for k, v in biases.items() if metrics.is_person(k)})
    assert round(people, 4) == 0.9576 and people.n == 10
    assert 0.93 < people.low < people < people.high < 0.98
    assert math.isclose(people, np.mean([float(v) for v in people.points.values()]))


def test_cue_conflict_reuses_160_content_and_48_texture_images(cue_conflict: pd.DataFrame) -> None:
    one = cue_conflict[cue_conflict.subj == "subject-01"]
    clusters = image_clusters(one)
    assert clusters is not None
    assert [len(set(c)) for c in clusters] == [160, 48]
    e = metrics.shape_bias(one, bootstrap=Bootstrap(draws=1000))
    assert e.naive is not None and e.high - e.low > 1.1 * (e.naive[1] - e.naive[0])
    assert "clustered" in e.method


def test_every_pair_on_cue_conflict_equals_the_obvious(cue_conflict: pd.DataFrame) -> None:
    names = ["subject-01", "subject-02", "AlexNet (texture-vs-shape)", "ResNet-50 (texture-vs-shape, SIN)"]
    some = cue_conflict[cue_conflict.subj.isin(names)]
    pairs = metrics.pairwise_consistency(some, bootstrap=None)
    by_name = {str(k): v for k, v in some.groupby("subj")}
    for row in pairs.itertuples():
        observed, kappa = plain.consistency(by_name[str(row.observer_a)], by_name[str(row.observer_b)])
        assert row.n == 1280
        assert abs(row.value - kappa) < 1e-12 and abs(row.observed - observed) < 1e-12


@pytest.mark.parametrize("name", trials.SETS)
def test_all_17_sets_equal_the_obvious(mirror: Path, name: str) -> None:
    people = {str(k): v for k, v in trials.load(name).groupby("subj")}
    for table in people.values():
        assert abs(metrics.accuracy(table, None) - plain.accuracy(table)) < 1e-12
        assert abs(metrics.response_entropy(table, None) - plain.entropy(table)) < 1e-12
    first, second = list(people.values())[:2]
    for condition in first.condition.unique():
        a, b = first[first.condition == condition], second[second.condition == condition]
        observed, kappa = plain.consistency(a, b)
        assert abs(metrics.error_consistency(a, b, None) - kappa) < 1e-12
        assert abs(metrics.observed_consistency(a, b, None) - observed) < 1e-12
        squared = (plain.accuracy(a) - plain.accuracy(b)) ** 2
        assert abs(metrics.accuracy_difference(a, b, None) - squared) < 1e-12


def test_people_row_of_the_benchmark_over_all_17_sets(mirror: Path) -> None:
    """Each pair of people once, conditions then pairs then sets; done here from each person's right
    answers."""
    everyone = pd.concat([trials.load(name) for name in trials.SETS], ignore_index=True)
    ours = metrics.benchmark_table(everyone, bootstrap=None).loc["people"]
    kept = metrics.kept(everyone)
    kept = kept.assign(right=kept.object_response == kept.category)
    by_set = []
    for _, of_set in kept.groupby("set"):
        grids = [c.pivot(index="stimulus", columns="subj", values="right") for _, c in of_set.groupby("condition")]
        by_pair = []
        for a, b in combinations(grids[0].columns, 2):
            p, q = (np.array([g[s].mean() for g in grids]) for s in (a, b))
            observed = np.array([(g[a] == g[b]).mean() for g in grids])
            expected = p * q + (1 - p) * (1 - q)
            kappa = (observed - expected) / (1 - expected)
            by_pair.append([((p - q) ** 2).mean(), observed.mean(), kappa.mean()])
        by_set.append([*np.mean(by_pair, axis=0), of_set.right.mean()])
    columns = ["accuracy_difference", "observed_consistency", "error_consistency", "ood_accuracy"]
    np.testing.assert_allclose(ours[columns].astype(float), np.mean(by_set, axis=0), atol=1e-12, rtol=0)


def test_benchmark_of_the_recorded_networks(mirror: Path) -> None:
    names = ("cue-conflict", "edge", "silhouette")
    recorded = pd.concat([trials.load(name, "all") for name in names], ignore_index=True)
    on_all = recorded.groupby("subj")["set"].nunique() == 3
    models = [str(s) for s in on_all.index[on_all] if not metrics.is_person(str(s))]
    chosen = recorded[recorded.subj.isin(models) | recorded.subj.map(metrics.is_person)]
    ours = metrics.benchmark_table(chosen, bootstrap=Bootstrap("percentile", draws=100))
    people = [str(s) for s in chosen.subj.unique() if metrics.is_person(str(s))]
    theirs = plain.benchmark(chosen, models[:2], people[:10], {})
    for model in models[:2]:
        np.testing.assert_allclose(ours.loc[model, theirs.columns], theirs.loc[model], atol=1e-12, rtol=0)
    assert (ours["error_consistency_low"] < ours["error_consistency_high"]).all()
    assert ours["error_consistency"].idxmax() == "people"
