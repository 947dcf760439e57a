"""The 16 categories: their prompts and the ImageNet classes behind them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencls.categories import (
    CATEGORIES,
    answers,
    article,
    entry_level,
    imagenet_classes,
    imagenet_table,
    prompts,
)
from gencls.errors import GenclsError


def test_207_classes_each_of_one_category() -> None:
    table = imagenet_table()
    assert len(table) == 207 and table["imagenet_index"].is_unique and table["wnid"].is_unique
    assert set(table["category"]) == set(CATEGORIES) and list(CATEGORIES) == sorted(CATEGORIES)
    assert table["imagenet_index"].between(0, 999).all()
    # indices count sorted wnids, so the two orders are one
    assert table.sort_values("imagenet_index")["wnid"].is_monotonic_increasing
    # facts of the benchmark that anyone can look up: two elephants, 110 of ImageNet's 118 dogs, one airliner
    assert sorted(imagenet_classes("elephant")) == [385, 386]
    assert imagenet_classes("airplane") == (404,) and len(imagenet_classes("dog")) > 100


def test_a_caller_cannot_change_the_table() -> None:
    table = imagenet_table()
    table["category"] = "dog"
    assert imagenet_table()["category"].nunique() == 16


def test_mean_and_sum_by_a_loop() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(1000, 0.1), size=(3, 2))
    mean, total = entry_level(p), entry_level(p, "sum")
    assert mean.shape == total.shape == (3, 2, 16)
    table = imagenet_table()
    for k, category in enumerate(CATEGORIES):
        chosen = [row.imagenet_index for row in table.itertuples() if row.category == category]
        for i in range(3):
            for j in range(2):
                by_hand = sum(p[i, j, c] for c in chosen)
                assert total[i, j, k] == pytest.approx(by_hand, rel=1e-12)
                assert mean[i, j, k] == pytest.approx(by_hand / len(chosen), rel=1e-12)


def test_mean_and_sum_can_disagree() -> None:
    p = np.zeros(1000)
    p[404] = 0.4  # the one airplane
    p[list(imagenet_classes("dog"))] = 0.6 / len(imagenet_classes("dog"))
    assert CATEGORIES[entry_level(p).argmax()] == "airplane"
    assert CATEGORIES[entry_level(p, "sum").argmax()] == "dog"


@given(st.integers(0, 999))
def test_a_certain_network_answers_its_class_or_nothing(index: int) -> None:
    values = entry_level(np.eye(1000)[index], "sum")
    owner = [c for c in CATEGORIES if index in imagenet_classes(c)]
    assert [CATEGORIES[i] for i in np.flatnonzero(values)] == owner


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.ones(16) / 16, "1,000 a stimulus"),
        (np.zeros((2, 1000)), "softmax"),
        (np.full(1000, np.nan), "NaN"),
        (np.linspace(-5, 5, 1000), "softmax"),
    ],
)
def test_what_is_no_probability_is_refused(bad: np.ndarray, why: str) -> None:
    with pytest.raises(GenclsError, match=why):
        entry_level(bad)
    with pytest.raises(GenclsError, match="median"):
        entry_level(np.eye(1000), "median")


def test_prompts() -> None:
    assert prompts()[0] == "A bad photo of a airplane" and len(prompts()) == 16
    assert prompts(articles=True)[:2] == ["A bad photo of an airplane", "A bad photo of a bear"]
    assert prompts(["bear", "oven"], "An {} indeed", articles=True) == ["A bear indeed", "An oven indeed"]
    assert prompts(["oven"], "the {}", articles=True) == ["the oven"]
    assert [article(n) for n in ("hourglass", "unicorn", "umbrella", "house", "eagle", "European", "owl")] == [
        *("an", "a", "an", "a", "an", "a", "an")
    ]
    for bad in ("no place", "{} and {}", "{0} of {}"):
        with pytest.raises(GenclsError, match="category goes"):
            prompts(template=bad)
    with pytest.raises(GenclsError, match="no category"):
        prompts(["dog", ""])


def test_answers() -> None:
    assert answers(np.eye(16)) == list(CATEGORIES)
    assert answers(np.array([[1.0, 1.0]]), ["x", "y"]) == ["x"]
    with pytest.raises(GenclsError, match="row 1"):
        answers(np.array([[0.0, 1.0], [np.nan, 1.0]]), ["x", "y"])
    with pytest.raises(GenclsError, match="n×16"):
        answers(np.zeros((2, 3)))


def test_an_unknown_category_lists_the_known_ones() -> None:
    with pytest.raises(GenclsError, match=r"'plane'.*airplane"):
        imagenet_classes("plane")
