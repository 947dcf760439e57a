"""Stimulus sets: slices, choices, digests, errors, and that nothing is loaded before it is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencls.errors import GenclsError
from gencls.stimuli.sets import StimulusSet

N = 12


def _table(n: int = N) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": [f"s{i:02d}" for i in range(n)],
            "category": [("cat", "dog", "car")[i % 3] for i in range(n)],
            "condition": [("low", "high")[i % 2] for i in range(n)],
            "texture": "",
        }
    )


def _set(loaded: list[int] | None = None) -> StimulusSet:
    def load(i: int) -> np.ndarray:
        if loaded is not None:
            loaded.append(i)
        return np.full((4, 5, 3), i, np.uint8)

    return StimulusSet("toy", _table(), load, ("cat", "dog", "car"))


def _values(stimuli: StimulusSet) -> list[int]:
    return [int(s.image[0, 0, 0]) for s in stimuli]


@given(st.slices(N), st.slices(N))
def test_slices_of_slices_are_the_slices_of_a_list(first: slice, second: slice) -> None:
    part = _set()[first][second]
    wanted = list(range(N))[first][second]
    assert _values(part) == wanted
    assert part.table["name"].tolist() == [f"s{i:02d}" for i in wanted]


@given(st.lists(st.integers(-N, N - 1), unique_by=lambda i: i % N))
def test_rows_in_any_order(rows: list[int]) -> None:
    part = _set()[rows]
    assert _values(part) == [i % N for i in rows]
    assert len(part) == len(rows)


def test_one_row_is_a_stimulus_counted_from_either_end() -> None:
    stimuli = _set()
    assert stimuli[-1] == stimuli[N - 1]
    assert stimuli[np.int64(4)].name == "s04"
    assert stimuli[4].image.tolist() == np.full((4, 5, 3), 4).tolist()
    with pytest.raises(IndexError):
        stimuli[N]


def test_only_what_is_asked_for_is_loaded() -> None:
    loaded: list[int] = []
    part = _set(loaded)[2:10].where(category="dog")[[1, 0]]
    assert loaded == []
    part.images([0])
    assert loaded == [7]


def test_where_combines_columns_and_takes_lists() -> None:
    stimuli = _set()
    both = stimuli.where(condition="high", category=["cat", "car"])
    table = _table()
    wanted = table[(table["condition"] == "high") & table["category"].isin(["cat", "car"])]
    assert both.table["name"].tolist() == wanted["name"].tolist()
    assert stimuli.where(category="bird").table.empty
    assert stimuli.conditions == ["low", "high"]
    assert both.conditions == ["high"]


def test_where_names_an_unknown_column() -> None:
    with pytest.raises(GenclsError, match="colour"):
        _set().where(colour="red")


def test_images_stack_the_rows_asked_for() -> None:
    images = _set().images(slice(1, 4))
    assert images.shape == (3, 4, 5, 3)
    assert images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_digest_hangs_on_pixels_and_table_and_on_nothing_else() -> None:
    stimuli = _set()
    assert stimuli.digest() == _set().digest() == stimuli[:].digest()

    def other(change_table: bool, change_pixel: bool) -> str:
        table = _table()
        if change_table:
            table.loc[3, "texture"] = "cat"

        def load(i: int) -> np.ndarray:
            image = np.full((4, 5, 3), i, np.uint8)
            image[3, 4, 2] += change_pixel and i == N - 1
            return image

        return StimulusSet("toy", table, load, ("cat", "dog", "car")).digest()

    assert other(False, False) == stimuli.digest()
    assert len({stimuli.digest(), other(True, False), other(False, True), stimuli[::-1].digest()}) == 4
    reshaped = StimulusSet("toy", _table(), lambda i: np.full((5, 4, 3), i, np.uint8), ("cat", "dog", "car"))
    assert reshaped.digest() != stimuli.digest()


def test_a_table_that_lacks_a_column_or_repeats_a_name_is_refused() -> None:
    with pytest.raises(GenclsError, match="condition"):
        StimulusSet("toy", _table().drop(columns="condition"), lambda i: np.zeros(3), ("cat",))
    table = _table()
    table.loc[1, "name"] = "s00"
    with pytest.raises(GenclsError, match="s00"):
        StimulusSet("toy", table, lambda i: np.zeros(3), ("cat",))
