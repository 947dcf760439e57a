"""The figures, by what stands in them: where markers, lines, intervals and words are put."""

import math
import subprocess
import sys
from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from gencls import figures
from gencls.errors import GenclsError
from gencls.figures import style


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def line(ax: Axes, label: str) -> Line2D:
    (found,) = [found for found in ax.lines if found.get_label() == label]
    return found


def segments(ax: Axes, observer: str) -> np.ndarray:
    (found,) = [c for c in ax.collections if c.get_label() == f"_interval {observer}"]
    return np.array(found.get_segments())


def xy(found: Line2D) -> list[tuple[float, float]]:
    return list(zip(map(float, found.get_xdata()), map(float, found.get_ydata()), strict=True))


def frame(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


BIASES = frame(
    "observer category value low high",
    ("people", "cat", 0.9, 0.8, 0.95),
    ("people", "oven", 1.0, 0.9, 1.0),
    ("people", "", 0.96, 0.92, 0.99),
    ("net", "cat", 0.2, 0.1, 0.4),
    ("net", "oven", 0.4, math.nan, math.nan),
)


def test_shape_bias_puts_shape_at_the_left_and_the_first_category_on_top() -> None:
    ax = figures.shape_bias(None, BIASES, dodge=False)
    assert ax.get_xlim()[0] > ax.get_xlim()[1] and ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "oven"]
    assert xy(line(ax, "people")) == [(0.9, 0), (1.0, 1)]
    assert xy(line(ax, "net")) == [(0.2, 0), (0.4, 1)]
    assert ax.xaxis.get_major_formatter()(1.0) == "0.0" and ax.xaxis.get_major_formatter()(0.2) == "0.8"
    assert ax.get_xlabel() == "fraction of texture decisions"


def test_shape_bias_draws_the_whole_bias_where_it_is_given_and_the_mean_where_not() -> None:
    ax = figures.shape_bias(None, BIASES)
    assert line(ax, "_mean people").get_xdata()[0] == 0.96
    assert line(ax, "_mean net").get_xdata()[0] == pytest.approx(0.3)
    bands = [patch.get_label() for patch in ax.patches]
    assert bands == ["_mean interval people"]
    (legend,) = ax.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["people  0.96 [0.92, 0.99]", "net  0.30"]
    assert "people 0.96 [0.92, 0.99]; net 0.30" in figures.describe(ax)


def test_shape_bias_draws_the_intervals_that_there_are() -> None:
    ax = figures.shape_bias(None, BIASES, dodge=False)
    np.testing.assert_allclose(segments(ax, "people")[:, :, 0], [[0.8, 0.95], [0.9, 1.0]])
    np.testing.assert_allclose(segments(ax, "net"), [[[0.1, 0], [0.4, 0]]])


def test_dodging_moves_observers_apart_but_stays_in_the_row() -> None:
    many = frame("observer category value", *((f"net {i}", "cat", 0.5) for i in range(20)))
    ax = figures.shape_bias(None, many)
    heights = [line(ax, f"net {i}").get_ydata()[0] for i in range(20)]
    assert len(set(heights)) == 20 and max(map(abs, heights)) < 0.5
    assert sum(heights) == pytest.approx(0)


def test_an_undefined_bias_is_said_not_drawn() -> None:
    ax = figures.shape_bias(None, frame("observer category value", ("net", "cat", math.nan)))
    assert not [found for found in ax.lines if found.get_label() == "_mean net"]
    assert "net undefined" in figures.describe(ax)


def test_people_are_red_diamonds_and_others_differ_in_colour_or_marker() -> None:
    names = [
        "people (mean of ten)",
        "human-human",
        "subject-01",
        *(f"net {i}" for i in range(42)),
        "peoplenet",
    ]
    drawn = figures.styles(names[:-1])
    assert {drawn[name] for name in names[:3]} == {figures.Style(style.PEOPLE, "D")}
    assert len({drawn[name] for name in names[3:-1]}) == 42
    assert not figures.is_person("peoplenet")
    mine = figures.Style("black", "o")
    assert figures.styles(["a", "b"], {"b": mine, "c": mine}) == {"a": figures.styles(["a"])["a"], "b": mine}


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("colour", [style.INK, style.PEOPLE, *style.COLOURS])
@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_every_colour_stands_out_on_light_and_dark_pages(colour: str, page: str) -> None:
    a, b = sorted((luminance(colour), luminance(page)))
    assert (b + 0.05) / (a + 0.05) >= 3  # WCAG 2.1, 1.4.11: graphical objects


LEVELS = frame(
    "observer t log_snr value low high",
    ("net", 0.8, -3.0, 0.7, 0.6, 0.8),
    ("net", 0.2, 3.0, 0.1, 0.05, 0.2),
    ("people", math.nan, math.nan, 0.96, 0.92, 0.99),
)


@pytest.mark.parametrize(("x", "ends"), [("t", [(0.2, 0.1), (0.8, 0.7)]), ("log_snr", [(-3, 0.7), (3, 0.1)])])
def test_shape_bias_by_level(x: str, ends: list[tuple[float, float]]) -> None:
    ax = figures.shape_bias_by_level(None, LEVELS, x=x)
    assert xy(line(ax, "net")) == ends
    assert list(line(ax, "people").get_ydata()) == [0.96, 0.96]
    (band,) = [c for c in ax.collections if c.get_label() == "_band net"]
    assert band.get_datalim(ax.transData).intervaly.tolist() == [0.05, 0.8]
    left, right = ax.get_xlim()
    assert (left > right) == (x == "log_snr"), "noise grows to the right"
    assert "people: 0.96 [0.92, 0.99] throughout" in figures.describe(ax)


def test_observers_without_a_level_are_told_apart_by_their_markers() -> None:
    names = [f"m{i}" for i in range(11)]
    frame = pd.DataFrame({"observer": names, "t": math.nan, "value": 0.5, "low": 0.4, "high": 0.6})
    ax = figures.shape_bias_by_level(None, frame)
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    assert [line.get_label() for line in lines] == names
    assert len({(to_rgb(line.get_color()), line.get_marker()) for line in lines}) == len(names)


def curves() -> pd.DataFrame:
    return frame(
        "set observer condition value low high person",
        ("contrast", "net", "c100", 0.9, 0.8, 1.0, ""),
        ("contrast", "net", "c05", 0.3, 0.2, 0.4, ""),
        *(("contrast", "people", c, v, math.nan, math.nan, f"subject-{i}")
          for c, vs in (("c100", (0.9, 1.0)), ("c05", (0.4, 0.8))) for i, v in enumerate(vs)),
        ("eidolonII", "net", "1-3-10", 0.8, 0.7, 0.9, ""),
        ("eidolonII", "net", "128-3-10", 0.1, 0.0, 0.2, ""),
    )  # fmt: skip


def test_ood_curves_stand_in_the_frames_order_with_people_and_their_spread() -> None:
    panels = figures.ood_curves(None, curves())
    assert [ax.get_title() for ax in panels] == ["contrast", "eidolonII"]
    contrast, eidolon = panels
    assert [t.get_text() for t in contrast.get_xticklabels()] == ["100", "5"]
    assert [t.get_text() for t in eidolon.get_xticklabels()] == ["1", "128"]
    assert xy(line(contrast, "net")) == [(0, 0.9), (1, 0.3)]
    np.testing.assert_allclose(xy(line(contrast, "people")), [(0, 0.95), (1, 0.6)])
    assert sorted(xy(line(contrast, "_person people"))) == [(0, 0.9), (0, 1.0), (1, 0.4), (1, 0.8)]
    (band,) = [c for c in contrast.collections if c.get_label() == "_band people"]
    np.testing.assert_allclose(band.get_datalim(contrast.transData).intervaly, [0.4, 1.0])
    assert line(contrast, "_chance").get_ydata()[0] == 1 / 16
    assert [t.get_text() for t in contrast.figure.legends[0].get_texts()] == ["net", "people"]
    words = figures.describe(contrast)
    assert "on contrast" in words and "on eidolonII" in words and "people: 0.95 at c100 to 0.60 at c05" in words


def test_ood_curves_may_stand_in_given_axes() -> None:
    _, axes = plt.subplots(1, 2)
    panels = figures.ood_curves(axes, curves(), chance=None)
    assert list(panels) == list(axes) and axes[0].get_legend() is not None
    with pytest.raises(GenclsError, match="2 sets but 1 Axes"):
        figures.ood_curves(axes[:1], curves())


def test_consistency_by_condition_shows_negative_values_and_chance_at_zero() -> None:
    (ax,) = figures.consistency_by_condition(
        None, frame("set observer condition value low high", ("rotation", "net-human", "90", -0.2, -0.4, 0.1))
    )
    assert line(ax, "_chance").get_ydata()[0] == 0 and ax.get_ylim()[0] < -0.4


def test_ood_bars() -> None:
    ax = figures.ood_bars(
        None,
        frame("set observer value low high", ("edge", "a", 0.5, 0.4, 0.6), ("sketch", "a", 0.7, 0.6, 0.8),
              ("sketch", "people", 0.9, 0.85, 0.95)),
    )  # fmt: skip
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.7, 0.9]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["edge", "sketch"]
    (_, first), (_, second) = xy(line(ax, "a"))
    assert (first, second) == (0.5, 0.7)
    np.testing.assert_allclose(segments(ax, "people")[0][:, 1], [0.85, 0.95])
    assert np.ptp(segments(ax, "people")[0][:, 0]) == 0 and ax.get_ylim()[0] == 0


def test_consistency_matrix_is_symmetric_and_leaves_the_diagonal_out() -> None:
    ax = figures.consistency_matrix(
        None,
        frame("observer other value low high", ("a", "b", 0.4, 0.3, 0.5), ("b", "c", -0.1, -0.2, 0.0),
              ("a", "a", 1.0, 1.0, 1.0)),
    )  # fmt: skip
    nan = math.nan
    np.testing.assert_array_equal(
        np.ma.filled(ax.images[0].get_array().astype(float), nan),
        [[nan, 0.4, nan], [0.4, nan, -0.1], [nan, -0.1, nan]],
    )
    texts = {t.get_position(): t.get_text() for t in ax.texts}
    assert texts[1, 0] == texts[0, 1] == "0.40\n[0.30,\n0.50]" and len(texts) == 4
    assert figures.describe(ax).endswith("From -0.10 (b and c) to 0.40 (a and b).")


def test_consistency_matrix_takes_a_square_and_writes_no_numbers_into_tiny_cells() -> None:
    names = [f"net {i}" for i in range(15)]
    square = pd.DataFrame(np.full((15, 15), 0.5), names, names)
    assert not figures.consistency_matrix(None, square).texts
    assert len(figures.consistency_matrix(None, square.iloc[:3, :3]).texts) == 6
    with pytest.raises(GenclsError, match="rows and columns differ"):
        figures.consistency_matrix(None, square.iloc[:3, 1:4])


def scores() -> xr.DataArray:
    """Two draws whose means over draws are 1, 2 and 3 times the noise level."""
    t = np.array([0.8, 0.2])
    errors = np.array([1.0, 2.0, 3.0])[:, None, None] * t[None, :, None] + np.array([-0.1, 0.1])
    return xr.DataArray(
        errors,
        dims=("class", "timestep", "draw"),
        coords={"class": ["cat", "dog", "oven"], "t": ("timestep", t), "log_snr": ("timestep", -t)},
    )


def test_error_curves_are_relative_to_the_mean_over_classes() -> None:
    ax = figures.error_curves(None, scores(), x="t")
    np.testing.assert_allclose(xy(line(ax, "cat (best)")), [(0.2, -50), (0.8, -50)])
    np.testing.assert_allclose(xy(line(ax, "_dog")), [(0.2, 0), (0.8, 0)], atol=1e-9)
    assert "the least error is that of cat" in figures.describe(ax)
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["cat (best)", "other classes"]


def test_error_curves_in_absolute_numbers_along_log_snr_with_chosen_classes() -> None:
    ax = figures.error_curves(None, scores(), highlight={"dog": "shape", "oven": "texture"}, relative=False)
    np.testing.assert_allclose(xy(line(ax, "oven (texture)")), [(-0.8, 2.4), (-0.2, 0.6)])
    assert ax.get_xlim()[0] > ax.get_xlim()[1]


def test_error_curves_skip_what_was_not_spent() -> None:
    errors = scores()
    errors[{"class": 1, "timestep": 0, "draw": 0}] = math.nan
    ax = figures.error_curves(None, errors, x="t", relative=False)
    np.testing.assert_allclose(xy(line(ax, "_dog")), [(0.2, 0.4), (0.8, 1.7)])


def test_error_curves_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(GenclsError, match="2 stimuli; choose one"):
        figures.error_curves(None, xr.concat([scores(), scores()], "stimulus"))
    with pytest.raises(GenclsError, match="need dims class and timestep"):
        figures.error_curves(None, scores().mean("timestep"))
    with pytest.raises(GenclsError, match="no class 'cow' among cat, dog, oven"):
        figures.error_curves(None, scores(), highlight={"cow": ""})


def test_reconstructions_mark_the_least_error_of_each_row() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    axes = figures.reconstructions(
        [[image, image / 255.0, image], [None, image, image]],
        ["stimulus", "a cat", "a dog"],
        rows=["t = 0.2", "t = 0.7"],
        errors=[[None, 0.25, 0.125], [math.nan, 1.0, 2.0]],
    )
    assert axes.shape == (2, 3) and [len(ax.images) for ax in axes.flat] == [1, 1, 1, 0, 1, 1]
    framed = [[ax.spines["left"].get_visible() for ax in row] for row in axes]
    assert framed == [[False, False, True], [False, True, False]]
    assert [ax.get_xlabel() for ax in axes[0]] == ["", "0.25", "0.125"]
    assert axes[0, 2].xaxis.label.get_weight() == "bold" and axes[0, 1].xaxis.label.get_weight() == "normal"
    assert "t = 0.7: the least error under a cat, 1" in figures.describe(axes[0, 0])
    with pytest.raises(GenclsError, match="give 2 in each row"):
        figures.reconstructions([[image]], ["a", "b"])


@settings(max_examples=10)
@given(st.integers(1, 12), st.integers(1, 5))
def test_stimuli_grid_has_one_panel_an_image(n: int, columns: int) -> None:
    images = [np.full((8, 8, 3), i, np.uint8) for i in range(n)]
    axes = figures.stimuli_grid(images, [f"image {i}" for i in range(n)], columns=columns)
    assert [int(ax.images[0].get_array().mean()) for ax in axes] == list(range(n))
    assert axes[-1].get_xlabel() == f"image {n - 1}" and len(axes[0].figure.axes) == n
    assert {ax.images[0].get_interpolation() for ax in axes} == {"nearest"}
    plt.close("all")


def test_stimuli_grid_clips_floats_and_counts_captions() -> None:
    (ax,) = figures.stimuli_grid([np.array([[[-1.0, 0.5, 2.0]]])])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[[0, 0.5, 1]]])
    with pytest.raises(GenclsError, match="2 captions for 1 images"):
        figures.stimuli_grid([np.zeros((2, 2, 3))], ["a", "b"])


def test_noise_ablation_has_a_panel_a_measure() -> None:
    bias, accuracy = figures.noise_ablation(
        None,
        frame("observer measure t value",
              ("plain", "shape bias", 0.0, 0.2), ("plain", "shape bias", 0.5, 0.3),
              ("plain", "accuracy", 0.0, 1.0), ("noisy", "accuracy", 0.0, 0.9),
              ("people", "shape bias", math.nan, 0.96)),
    )  # fmt: skip
    assert xy(line(bias, "plain")) == [(0, 0.2), (0.5, 0.3)] and line(bias, "people").get_ydata()[0] == 0.96
    assert xy(line(accuracy, "noisy")) == [(0, 0.9)]
    assert [bias.get_ylabel(), accuracy.get_ylabel()] == ["shape bias", "accuracy"]
    assert line(accuracy, "noisy").get_color() != line(accuracy, "plain").get_color()


def test_forest_names_each_row_and_draws_what_is_reported_hollow_and_without_interval() -> None:
    ax = figures.forest(
        None,
        frame("name observer origin value low high", ("bias", "people", "record", 0.95, 0.9, 0.98),
              ("bias", "net", "computed", 0.6, 0.5, 0.7), ("accuracy", "net", "computed", 0.3, 0.2, 0.4),
              ("bias", "net", "reported", 0.9, None, None)),
    )  # fmt: skip
    rows = dict(zip(ax.get_yticks(), (t.get_text() for t in ax.get_yticklabels()), strict=True))
    assert list(rows.values()) == ["people", "net", "net", "net"] and list(rows) == sorted(rows)
    marks = [found for found in ax.lines if found.get_label() in ("people", "net")]
    assert [mark.get_xdata()[0] for mark in marks] == [0.95, 0.6, 0.9, 0.3]
    assert [mark.get_ydata()[0] for mark in marks] == list(rows)  # each at the height of its label
    assert [mark.get_markerfacecolor() == "none" for mark in marks] == [False, False, True, False]
    assert [t.get_text() for t in ax.texts] == ["bias", "accuracy"]
    assert marks[1].get_ydata()[0] < marks[2].get_ydata()[0] < ax.texts[1].get_position()[1] < marks[3].get_ydata()[0]
    assert [c.get_segments()[0][:, 0].tolist() for c in ax.collections] == [[0.9, 0.98], [0.5, 0.7], [0.2, 0.4]]
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["people", "models", "reported by the paper"]
    assert "bias: people 0.95; net 0.60; reported net 0.90. accuracy: net 0.30." in figures.describe(ax)


def test_a_forest_of_many_is_drawn_as_far_as_shown_and_said_in_few_words() -> None:
    many = [("bias", f"net {i}", "computed", i / 100, 0.0, 1.0, i % 2 == 0) for i in range(60)]
    ax = figures.forest(None, frame("name observer origin value low high shown", *many))
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"net {i}" for i in range(0, 60, 2)]
    assert figures.describe(ax) == "Our estimates. bias: from net 0 0.00 to net 58 0.58."


def test_a_forest_without_a_key_has_one_row_a_name() -> None:
    rows = frame(
        "name observer origin value",
        ("nets", "a", "computed", 0.6),
        ("nets", "b", "computed", 0.5),
        ("c", "c", "computed", 0.4),
    )
    bare = figures.forest(None, rows, key=False)
    assert not bare.figure.legends and [t.get_text() for t in bare.get_yticklabels()] == ["nets", "c"]
    heights = [found.get_ydata()[0] for found in bare.lines if found.get_label() in ("a", "b", "c")]
    assert heights == pytest.approx([-0.1, 0.1, 1]) and "nets: a 0.60, b 0.50" in figures.describe(bare)


def test_points_makes_a_frame_of_estimates() -> None:
    class Estimate(float):
        value, low, high, n = 0.5, 0.4, 0.6, 100

    made = figures.points({("net", "cat"): Estimate(0.5), ("net", "dog"): 0.25}, ["observer", "category"], t=0.1)
    assert made.columns.tolist() == ["observer", "category", "t", "value", "low", "high", "n"]
    assert made.iloc[0].tolist() == ["net", "cat", 0.1, 0.5, 0.4, 0.6, 100]
    assert made.iloc[1, 3] == 0.25 and made.iloc[1, 4:].isna().all()
    figures.shape_bias(None, made)


def test_every_figure_is_transparent_and_no_text_is_small() -> None:
    ax = figures.shape_bias(None, BIASES)
    assert ax.figure.patch.get_alpha() == 0 and ax.patch.get_alpha() == 0
    texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, *ax.figure.legends[0].get_texts()]
    assert min(text.get_fontsize() for text in texts) >= 9


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (BIASES.drop(columns="category"), "lacks the column category"),
        (BIASES.iloc[:0], "has no rows"),
        (BIASES.assign(value=96.0), "96 .* is no fraction"),
        (BIASES.assign(value="much"), "is no number"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_an_error(bad: pd.DataFrame, words: str) -> None:
    with pytest.raises(GenclsError, match=words):
        figures.shape_bias(None, bad)


def test_the_frame_that_is_given_stays_as_it_was() -> None:
    before = BIASES.copy()
    figures.shape_bias(None, BIASES)
    pd.testing.assert_frame_equal(BIASES, before)


def test_figures_import_without_torch() -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, gencls.figures, gencls.stimuli.pictures; assert 'torch' not in sys.modules",
        ],
        check=True,
    )
