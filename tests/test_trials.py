"""Trial tables: the recorded ones of all 17 sets, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gencls import metrics
from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.stimuli.sets import StimulusSet
from gencls.trials import (
    COLUMNS,
    CONDITIONS,
    EXPERIMENTS,
    NETWORK_SETS,
    SETS,
    from_answers,
    human_reference,
    load,
    read,
    validate,
    write,
)


def bias(table: pd.DataFrame) -> tuple[int, int]:
    """Shape and texture decisions, counted row by row."""
    rows = [r for r in table.itertuples() if r.category != r.texture]
    shape = sum(r.object_response == r.category for r in rows)
    return shape, sum(r.object_response == r.texture for r in rows)


def test_85120_trials_597_without_an_answer(mirror: Path) -> None:
    every = pd.concat([load(name) for name in SETS])
    assert len(every) == 85_120 and (every["object_response"] == "na").sum() == 597
    assert len(every.groupby(["set", "subj"])) == 90
    assert every["rt"].isna().sum() == 597 and (every.loc[every["rt"].isna(), "object_response"] == "na").all()


@pytest.mark.parametrize("name", SETS)
def test_everyone_meets_on_the_same_stimuli(mirror: Path, name: str) -> None:
    table = load(name, "all")
    assert list(table.columns) == list(COLUMNS)
    validate(table, matched=True)
    observers = table["subj"].nunique()
    meeting = table.groupby(["condition", "stimulus"])["subj"].agg(["nunique", "size"])
    assert (meeting == observers).all(axis=None)
    assert table.groupby("stimulus")["condition"].nunique().eq(1).all()
    assert table.groupby("stimulus")["category"].nunique().eq(1).all()
    assert set(table["condition"]) == set(CONDITIONS[name])
    assert (table["texture"] != "").all() == (name == "cue-conflict")


def test_people_have_the_published_shape_bias(mirror: Path) -> None:
    counts = [bias(group) for _, group in load("cue-conflict").groupby("subj")]
    assert len(counts) == 10
    assert np.mean([s / (s + t) for s, t in counts]) == pytest.approx(0.9576, abs=5e-5)


@pytest.mark.parametrize(
    ("observer", "counts", "value"),
    [
        ("AlexNet (texture-vs-shape)", (283, 376), 0.4294),
        ("AlexNet (texture-vs-shape, PyTorch)", None, 0.2531),
        ("GoogLeNet (texture-vs-shape)", None, 0.3119),
        ("VGG-16 (texture-vs-shape)", None, 0.1722),
        ("ResNet-50 (texture-vs-shape, PyTorch)", None, 0.2207),
        ("ResNet-50 (texture-vs-shape, SIN)", None, 0.8061),
    ],
)
def test_networks_have_the_published_shape_bias(
    mirror: Path, observer: str, counts: tuple[int, int] | None, value: float
) -> None:
    table = load("cue-conflict", "networks")
    shape, texture = bias(table[table["subj"] == observer])
    assert shape / (shape + texture) == pytest.approx(value, abs=5e-5)
    assert counts in (None, (shape, texture))


def test_sixteen_networks_saw_cue_conflict(mirror: Path) -> None:
    names = load("cue-conflict", "networks")["subj"].unique()
    assert len(names) == 16 and all("texture-vs-shape" in n for n in names)
    assert not load("cue-conflict", "human")["subj"].isin(names).any()


@pytest.mark.parametrize(
    ("name", "people", "networks", "size"),
    [
        ("original", 5, 6, 160),
        ("greyscale", 5, 5, 160),
        ("texture", 5, 5, 48),
        ("cue-conflict-shape-instruction", 10, 4, 1280),
        ("cue-conflict-texture-instruction", 10, 4, 1280),
    ],
)
def test_experiments_outside_the_17(mirror: Path, name: str, people: int, networks: int, size: int) -> None:
    validate(load(name, "all"), matched=True)
    for kind, number in (("human", people), ("networks", networks)):
        table = load(name, kind)
        assert table["subj"].nunique() == number and (table.groupby("subj").size() == size).all()
        assert set(table["set"]) == {name} and set(table["condition"]) == {"0"}
    assert name in EXPERIMENTS and name in NETWORK_SETS


def test_instructions_matter_so_they_are_other_sets(mirror: Path) -> None:
    share = {}
    for name in ("cue-conflict", "cue-conflict-shape-instruction", "cue-conflict-texture-instruction"):
        shape, texture = bias(load(name))
        share[name] = shape / (shape + texture)
    neutral, toward_shape, toward_texture = share.values()
    assert toward_texture < neutral - 0.1 and toward_texture < toward_shape - 0.1


def test_rotated_textures_meet_by_their_angle(mirror: Path) -> None:
    people, networks = load("texture-filled-rotated"), load("texture-filled-rotated", "networks")
    assert people["subj"].nunique() == 32 and networks["subj"].nunique() == 5
    keys = {tuple(k) for k in networks[["condition", "stimulus"]].to_numpy()}
    assert {tuple(k) for k in people[["condition", "stimulus"]].to_numpy()} < keys and len(keys) == 1280
    assert (
        people["stimulus"] == [f"{s.rsplit('-', 1)[0]}-{c}" for s, c in people[["stimulus", "condition"]].to_numpy()]
    ).all()


def test_unknown_names_and_missing_data(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenclsError, match=r"'sketches'.*sketch"):
        load("sketches")
    with pytest.raises(GenclsError, match="no network's trials"):
        load("contrast", "networks")
    with pytest.raises(GenclsError, match="'people'"):
        load("contrast", "people")
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    with pytest.raises(GenclsError, match=r"human trials.*gencls data fetch model-vs-human"):
        load("contrast")


def test_a_caller_cannot_change_what_others_load(mirror: Path) -> None:
    table = load("edge")
    table.loc[:, "object_response"] = "dog"
    assert load("edge")["object_response"].nunique() > 10


# the shipped figures


def test_the_shipped_figures_are_those_of_the_script(mirror: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "scripts" / "human_reference.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    for name in ("accuracy", "accuracy_of_sets", "shape_bias", "error_consistency"):
        fresh = pd.read_csv(tmp_path / f"human_{name}.csv", dtype={"condition": str})
        pd.testing.assert_frame_equal(human_reference(name), fresh, rtol=1e-14)


def test_the_shipped_figures_agree_with_the_measures(mirror: Path) -> None:
    shipped = human_reference("shape_bias").query("category == 'all'").set_index("subj")["shape_bias"]
    for subj, group in load("cue-conflict").groupby("subj"):
        assert float(metrics.shape_bias(group, bootstrap=None)) == pytest.approx(shipped[subj], abs=1e-12)
    noise = load("uniform-noise")
    noise = noise[noise["condition"] == "0.2"]
    table = human_reference("error_consistency").query("set == 'uniform-noise' and condition == '0.2'")
    assert len(table) == 6
    for row in table.itertuples():
        a, b = (noise[noise["subj"] == s] for s in (row.subj_a, row.subj_b))
        assert float(metrics.error_consistency(a, b, bootstrap=None)) == pytest.approx(row.kappa, abs=1e-12)


def test_the_shipped_figures_need_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    accuracy, shape = human_reference("accuracy"), human_reference("shape_bias")
    assert accuracy["n"].sum() == 85_120 and set(accuracy["set"]) == set(SETS)
    overall = shape[shape["category"] == "all"]
    assert len(overall) == 10 and (overall["n"] == 1200).all()
    assert overall["shape_bias"].mean() == pytest.approx(0.9576, abs=5e-5)
    assert set(shape["category"]) == {"all", *CATEGORIES}
    assert human_reference("error_consistency")["kappa"].between(-1, 1).all()
    with pytest.raises(GenclsError, match="there are accuracy"):
        human_reference("bias")


# what is refused


def small(n: int = 6, subj: str = "a") -> pd.DataFrame:
    """n trials on stimuli 0…n−1."""
    names = [f"s{i}" for i in range(n)]
    categories = [CATEGORIES[i % 16] for i in range(n)]
    table = pd.DataFrame({"name": names, "category": categories, "condition": "0", "texture": ""})
    return from_answers(subj, StimulusSet("mine", table, lambda i: np.zeros((1, 1, 3)), CATEGORIES), categories)


def test_good_tables_pass_and_nothing_is_changed() -> None:
    table = pd.concat([small(subj="a"), small(subj="b")], ignore_index=True)
    table.loc[2, "object_response"] = "na"
    pd.testing.assert_frame_equal(validate(table, matched=True), table)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("object_response", "", r"'object_response' is empty or no text in row 3.*'na'"),
        ("object_response", None, r"'object_response' is empty or no text in row 3"),
        ("object_response", np.nan, r"'object_response' is empty or no text in row 3"),
        ("object_response", "Dog", r"the answer is no category \('Dog'\) in row 3"),
        ("category", "zebra", r"'category' holds no category \('zebra'\) in row 3"),
        ("category", "na", r"'category' holds no category \('na'\) in row 3"),
        ("texture", "tartan", r"'texture' holds no category \('tartan'\) in row 3"),
        ("stimulus", "s2", r"second trial on the same stimulus in row 3"),
        ("stimulus", "", r"'stimulus' is empty or no text in row 3"),
        ("set", "other", r"set is not 'mine'.*'other' in row 3; measure each set alone"),
    ],
)
def test_bad_rows_are_named(column: str, value: object, why: str) -> None:
    table = small()
    table[column] = table[column].astype(object)
    table.loc[3, column] = value
    with pytest.raises(GenclsError, match=why):
        validate(table)


def test_missing_columns_are_named() -> None:
    with pytest.raises(GenclsError, match="lack the columns category, stimulus; add them"):
        validate(small().drop(columns=["stimulus", "category"]))
    with pytest.raises(GenclsError, match="empty"):
        validate(small().iloc[:0])


def test_many_rows_are_counted() -> None:
    table = small(12)
    table["object_response"] = "unicorn"
    with pytest.raises(GenclsError, match="rows 0, 1, 2, 3, 4 and 7 more"):
        validate(table)


def test_mismatched_stimuli() -> None:
    fewer = pd.concat([small(6, "a"), small(5, "b")], ignore_index=True)
    validate(fewer)
    with pytest.raises(GenclsError, match=r"'b' has no trial on 1 stimuli that 'a' saw, such as s5"):
        validate(fewer, matched=True)
    more = pd.concat([small(5, "a"), small(6, "b")], ignore_index=True)
    with pytest.raises(GenclsError, match=r"'b' saw stimuli that 'a' did not in row 10"):
        validate(more, matched=True)
    sets = [small(4, "a"), small(4, "a").assign(set="y"), small(3, "b"), small(4, "b").assign(set="y")]
    with pytest.raises(GenclsError, match=r"'b' has no trial on 1 stimuli that 'a' saw, such as s3"):
        validate(pd.concat(sets, ignore_index=True), one_set=False, matched=True)


def test_another_world_has_its_own_categories() -> None:
    table = pd.DataFrame(
        {"name": ["x", "y"], "category": ["star", "ring"], "condition": "0", "texture": ["dots", "star"]}
    )
    pictures = StimulusSet("shapes", table, lambda i: np.zeros((1, 1, 3)), ["star", "ring", "dots"])
    trials = from_answers("m", pictures, ["ring", "dots"])
    validate(trials)
    with pytest.raises(GenclsError, match=r"no category \('cat'\) in row 1"):
        from_answers("m", pictures, ["ring", "cat"])
    with pytest.raises(GenclsError, match="1 answers to 2 stimuli"):
        from_answers("m", pictures, ["ring"])
    assert trials["stimulus"].tolist() == ["x", "y"] and trials["trial"].tolist() == [1, 2]


# files


def test_written_is_what_is_read(mirror: Path, tmp_path: Path) -> None:
    table = load("silhouette", "all")
    pd.testing.assert_frame_equal(read(write(table, tmp_path / "t.csv")), table)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_the_benchmarks_own_files_are_read(tmp_path: Path) -> None:
    lines = [
        "subj,Session,trial,rt,object_response,category,condition,imagename",
        "me,1,1,0.5,cat,cat,3,0001_hp_me_3_cat_10_n01_2.png",
        "me,1,2,NaN,na,dog,inf,0002_hp_me_inf_dog_10_n03_4.png",
    ]
    path = tmp_path / "me.csv"
    path.write_text("\n".join(lines))
    table = read(path, "high-pass")
    assert table["condition"].tolist() == ["3.0", "inf"] and table["stimulus"].tolist() == ["n01_2", "n03_4"]
    with pytest.raises(GenclsError, match="of which set"):
        read(path)
    for old, new, why in (
        (",cat,cat,", ",cot,cat,", r"me\.csv: .*'cot'\) in row 0"),
        (",0.5,", ",fast,", "'rt' is no number in row 0"),
        ("0001_hp_me_3_cat_10_n01_2.png", "cat.png", "'imagename' in row 0"),
        ("object_response", "answer", "lacks the column object_response"),
    ):
        path.write_text("\n".join(lines).replace(old, new))
        with pytest.raises(GenclsError, match=why):
            read(path, "high-pass")


def test_a_file_keeps_what_it_says_of_stimulus_and_set(tmp_path: Path) -> None:
    path, table = tmp_path / "mine.csv", small(4, "me")
    whole = table.assign(imagename=[f"my picture {i}.png" for i in range(4)])
    for without, named in ((["texture"], None), (["texture", "set"], "mine"), (["set"], table["set"].iloc[0])):
        whole.drop(columns=without).to_csv(path, index=False)
        found = read(path, named)
        assert found["stimulus"].tolist() == table["stimulus"].tolist()
        assert found["set"].unique().tolist() == [named or table["set"].iloc[0]]
        assert found["texture"].tolist() == ([""] * 4 if "texture" in without else table["texture"].tolist())
    pd.concat([whole, whole.assign(set="other")]).drop(columns="texture").to_csv(path, index=False)
    with pytest.raises(GenclsError, match="several sets and lacks 'stimulus' or 'texture'"):
        read(path)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content in (b"", b"\xff\xfe\x00", b"a,b\n1,2,3,4\n5"):
        path.write_bytes(content)
        with pytest.raises(GenclsError, match=r"t\.csv"):
            read(path)
    with pytest.raises(GenclsError, match=r"nowhere\.csv cannot be read"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(GenclsError, match="cannot be written"):
        write(small(), tmp_path / "no" / "folder.csv")


def test_no_torch_is_imported() -> None:
    code = "import sys, gencls.trials, gencls.stimuli.benchmark; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
