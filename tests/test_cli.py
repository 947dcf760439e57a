"""The command: what it answers, and that every mistake is one sentence and exit status 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

import gencls
from gencls.cli import app
from gencls.likelihood import records
from gencls.likelihood.scoring import score
from gencls.models import zoo

RESNET = "shapes/resnet"


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `gencls …`."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: object) -> str:
    """The one sentence with which `gencls …` ends; its status is 2 and it prints nothing else."""
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("gencls: ") and len(err.splitlines()) == 1
    return err


@pytest.fixture
def stimuli(tmp_path: Path) -> Path:
    """A folder with three shapes, written by the command itself."""
    status, out, _ = call("stimuli", "photos", "--save", tmp_path, "-n", 3)
    assert (status, Path(out.strip())) == (0, tmp_path / "photos")
    return tmp_path / "photos"


def answers(path: Path, *options: object) -> list[dict]:
    status, out, err = call("classify", path, "--model", RESNET, "--json", *options)
    assert status == 0, err
    return json.loads(out)["images"]


def test_saved_stimuli_are_answered_as_the_stimuli_themselves(stimuli: Path) -> None:
    shown = gencls.world("shapes").stimuli("photos", 3)
    expected = gencls.load(RESNET).classify([s.image for s in shown])
    got = answers(stimuli)
    assert [Path(image["image"]).stem for image in got] == list(shown.table["name"])
    assert [image["answer"] for image in got] == list(expected.answers) == list(shown.table["category"])
    for image, row in zip(got, expected.probabilities.to_dict("records"), strict=True):
        assert image["probabilities"] == pytest.approx(row, rel=1e-6)


def test_classes_that_are_named_are_the_only_ones(stimuli: Path) -> None:
    for image in answers(stimuli, "--classes", "star, heart"):
        assert list(image["scores"]) == ["star", "heart"]
        assert sum(image["probabilities"].values()) == pytest.approx(1)


def test_the_table_names_every_image_and_says_what_the_model_knows(stimuli: Path) -> None:
    status, out, err = call("classify", stimuli, "--model", RESNET)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["image", "answer", "probability", "next"]
    assert len(lines) == 4
    assert "shapes are all it knows" in err


def test_a_generative_model_is_asked_in_the_words_given(stimuli: Path) -> None:
    status, out, _ = call("classify", stimuli, "--model", "shapes/pixel", "--prompt", "a drawing of a {}", "--json")
    said = json.loads(out)
    assert (status, said["prompt"]) == (0, "a drawing of a {}")
    assert [image["answer"] for image in said["images"]] == ["circle", "square", "triangle"]


def test_a_photograph_needs_no_model_to_be_named(stimuli: Path) -> None:
    status, out, _ = call("classify", stimuli / "test-photos-00000.png", "--json")
    assert status == 0
    assert json.loads(out)["model"] == "pypi:efficientnet-lite0"


def test_the_same_picture_in_other_files_gets_the_same_answer(stimuli: Path, tmp_path: Path) -> None:
    grey = Image.open(stimuli / "test-photos-00001.png").convert("L")
    other = tmp_path / "other"
    other.mkdir()
    grey.convert("RGB").save(other / "a8.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(other / "b16.png")
    transparent = grey.convert("LA")
    transparent.putalpha(255)
    transparent.save(other / "c-alpha.png")
    one, *rest = answers(other)
    assert len(rest) == 2
    assert all(image["scores"] == one["scores"] for image in rest)


def test_odd_sizes_are_answered(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "tiny.png")
    Image.new("RGB", (20_000, 30), "red").save(tmp_path / "wide.png")
    assert {Path(image["image"]).name for image in answers(tmp_path)} == {"tiny.png", "wide.png"}


def test_a_truncated_image_is_named_and_the_others_are_answered(stimuli: Path) -> None:
    whole = (stimuli / "test-photos-00001.png").read_bytes()
    (stimuli / "test-photos-00001.png").write_bytes(whole[: len(whole) // 2])
    status, out, err = call("classify", stimuli, "--model", RESNET, "--json")
    assert status == 2
    assert [Path(i["image"]).stem for i in json.loads(out)["images"]] == ["test-photos-00000", "test-photos-00002"]
    assert [line for line in err.splitlines() if "cut short" in line and "test-photos-00001.png" in line]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["classify", "{folder}", "--model", "shapes/pixle"], "no model 'shapes/pixle'; known are shapes/pixel"),
        (["classify", "{folder}", "--model", RESNET, "--classes", "star,dog"], "knows nothing else, not 'dog'"),
        (["classify", "{folder}", "--classes", "cat,unicorn"], "has no label for 'unicorn'; it knows airplane"),
        (["classify", "{folder}", "--classes", "cat"], "give at least two"),
        (
            ["classify", "{folder}", "--model", "shapes/pixel", "--prompt", "a drawing"],
            "needs one {} where the category",
        ),
        (["classify", "{folder}/nothing.png"], "no such file or folder"),
        (["classify", "{empty}"], "the folder holds no images"),
        (["classify", "{folder}", "--model", RESNET, "--dtype", "float8"], "number type 'float8' is not float32"),
        (["classify", "{folder}", "--engine", "spark", "--dry-run"], "no engine 'spark'; there are here and ray"),
        (["classify", "{folder}", "--model", RESNET, "--workers", "3"], "those of a Ray cluster"),
        (["classify", "{folder}", "--model", RESNET, "--classes", "star", "--dry-run"], "give at least two"),
        (["run", "shape_bias", "-p", "weighting=foo"], "weighting 'foo' is not known"),
        (["run", "shape_bias", "-p", "models=[1, 2]"], "no list of ids"),
        (["run", "introduction", "-p", "also=[naturall]"], "no world 'naturall'"),
        (["run", "shape_bias", "--engine", "spark"], "no engine 'spark'; there are here and ray"),
        (["train", f"{RESNET}@"], "no recipe for 'shapes/resnet@'"),
        (["stimuli", "photoz"], "the world 'shapes' has no stimulus set 'photoz'; it has photos"),
        (["stimuli", "photos", "--save", "{parent}"], "holds files already; name another folder"),
        (["stimuli", "--world", "moon"], "no world 'moon'; there are shapes, natural, full"),
        (["train", "shapes/unknown"], "no recipe for 'shapes/unknown'; known are shapes/pixel"),
        (["train", RESNET, "--out", "{folder}"], "holds something else than a trained model"),
        (["run", "nothing"], "no chapter 'nothing' in the book; there are: "),
        (["run", "shape_bias", "-p", "wrold=full"], "has no parameter 'wrold'; it has: world"),
        (["run", "shape_bias", "-p", "world"], "-p 'world' is not name=value"),
        (["run", "shape_bias", "-y", "[1]"], "is no YAML mapping"),
        (
            ["run", "shape_bias", "--profile", "nothing"],
            "the profile 'nothing' is unknown; there are: default, full, smoke",
        ),
        (["book", "--world", "moon"], "the book has no world 'moon'"),
        (["data", "fetch", "tiny-imagenet", "nothing"], "no data source is called 'nothing'; there are model-vs-human"),
    ],
)
def test_a_mistake_is_one_sentence(stimuli: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    filled = [a.format(folder=stimuli, parent=tmp_path, empty=tmp_path / "empty") if "{" in a else a for a in arguments]
    assert said in refused(*filled)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["classify"], ["nothing"], ["models", "--colour"], ["stimuli", "-n", "few"]),
        *(["run", "ood", "--resolution", "0"], ["run", "ood", "--engine", "ray", "--workers", "0"]),
    ],
)
def test_a_command_line_that_means_nothing_is_status_2(arguments: list[str]) -> None:
    assert call(*arguments)[0] == 2


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for arguments in (["--debug", "stimuli", "photoz"], ["stimuli", "photoz", "--debug"]):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, gencls.GenclsError)


def test_help_of_every_command_shows_how_it_is_used() -> None:
    for command in ("book", "run", "classify", "stimuli", "train"):
        status, out, _ = call(command, "--help")
        assert status == 0 and "Example" in out


def test_help_and_the_list_of_models_import_no_torch() -> None:
    code = "import sys; from gencls.cli import app; app(sys.argv[1:], standalone_mode=False); print('torch' in sys.modules)"
    for argument in ("--help", "models"):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"


def test_who_stops_reading_is_no_error() -> None:
    listing = subprocess.Popen(
        [sys.executable, "-m", "gencls.cli", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert listing.stdout is not None and listing.stderr is not None
    listing.stdout.close()
    assert "pipe" not in listing.stderr.read().lower()
    assert listing.wait() != 2


def test_one_picture_is_answered_where_nothing_can_be_kept(stimuli: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_CACHE", "/proc/nothing")
    status, out, err = call("classify", stimuli, "--model", RESNET, "--json")
    assert status == 0 and len(json.loads(out)["images"]) == 3
    assert "GENCLS_CACHE names another folder" in err


def test_a_missing_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path / "nowhere"))
    for asked in (
        ("data", "fetch", "texture-vs-shape"),
        ("run", "shape_bias", "-p", "world=full", "--out", tmp_path / "out"),
    ):
        assert "which is no folder; correct it or unset it" in refused(*asked)
    (tmp_path / "nowhere").mkdir()
    said = refused("stimuli", "cue-conflict", "--world", "full", "--save", tmp_path / "out")
    assert "is missing" in said and "texture-vs-shape" in said
    assert not (tmp_path / "out").exists()


def test_a_record_of_another_model_is_refused_and_stays(tmp_path: Path) -> None:
    model, some = zoo.open_model(RESNET), gencls.world("shapes").stimuli("photos", 2)
    record = tmp_path / "scores.zarr.zip"
    first = score(model, some, record=record, model_digest="0123456789abcdef", progress=False)
    before = record.read_bytes()
    with pytest.raises(gencls.GenclsError, match="made with model_digest '0123456789abcdef', not 'fedcba9876543210'"):
        score(model, some, record=record, model_digest="fedcba9876543210", progress=False)
    assert record.read_bytes() == before
    xr.testing.assert_equal(records.read(record), first)


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    import typer
    import gencls
    from gencls.cli import _Commands
    from gencls.likelihood.scoring import score
    from gencls.models import zoo

    app = typer.Typer(cls=_Commands)

    @app.callback()
    def options(debug: bool = False) -> None: ...

    @app.command()
    def command(record: Path, limit: int) -> None:
        model, some = zoo.open_model("shapes/resnet"), gencls.world("shapes").stimuli("photos", 100)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        score(model, some, record=record, model_digest="d", progress=False)

    app()
"""


def test_a_full_disk_loses_nothing_that_was_computed(tmp_path: Path) -> None:
    record = tmp_path / "scores.zarr.zip"
    script = [sys.executable, "-c", textwrap.dedent(FULL_DISK), "command", str(record)]
    full = subprocess.run([*script, "1000"], capture_output=True, text=True, check=False)
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith(f"gencls: the record {record} could not be written")
    assert "what was computed is kept" in full.stderr and len(full.stderr.splitlines()) == 1
    parts = sorted((tmp_path / "scores.zarr.zip.part").iterdir())
    assert [p.name for p in tmp_path.iterdir()] == ["scores.zarr.zip.part"]  # no record, not even a half one
    assert len(parts) == 100 and {p.suffix for p in parts} == {".npy"}
    np.save(parts[0], np.full(16, 7, np.float32))  # if it is taken up again, this is seen in the record
    again = subprocess.run([*script, "0"], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    rows = (records.read(record)["log_probability"].values == 7).all(1)
    assert len(rows) == 100 and rows.sum() == 1
    assert [p.name for p in tmp_path.iterdir()] == ["scores.zarr.zip"]


def test_a_full_disk_while_writing_images(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); from gencls.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "stimuli", "photos", "--save", str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "File too large" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "photos").iterdir())  # not even a half one


def test_a_killed_classify_goes_on_where_it_was(tmp_path: Path) -> None:
    call("stimuli", "photos", "--save", tmp_path, "-n", 40)
    given = [
        sys.executable,
        "-m",
        "gencls.cli",
        "classify",
        str(tmp_path / "photos"),
        "--model",
        "shapes/pixel",
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GENCLS_CACHE": str(tmp_path / "cache")}
    child = subprocess.Popen(given, env=environment, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("cache/unfinished/*/*.npy"))) < 20 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = sorted(tmp_path.glob("cache/unfinished/*/*.npy"))
    assert 20 <= len(kept) < 40

    # What was kept is taken, not computed again: a mark left in one file stands in the answer.
    np.save(kept[0], np.load(kept[0]) + 1000)
    again = json.loads(subprocess.run(given, env=environment, capture_output=True, check=True).stdout)
    clean = json.loads(call("classify", tmp_path / "photos", "--model", "shapes/pixel", "--json")[1])
    scores = [np.array([list(image["scores"].values()) for image in found["images"]]) for found in (again, clean)]
    marked = np.abs(scores[0] - scores[1]).max(1) > 50
    assert marked.sum() == 1
    np.testing.assert_allclose(scores[0][~marked], scores[1][~marked], rtol=1e-5)
    assert not list(tmp_path.glob("cache/unfinished/*"))


def test_what_is_told_to_end_leaves_nothing_half(tmp_path: Path) -> None:
    given = [sys.executable, "-m", "gencls.cli", "stimuli", "--save", str(tmp_path)]
    child = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*/.saving-*")):
        assert child.poll() is None
        time.sleep(0.01)
    child.terminate()
    assert child.communicate()[1].splitlines()[-1] == "gencls: stopped: sets that are whole stay"
    assert child.returncode == 130 and not list(tmp_path.glob("*/.*"))
