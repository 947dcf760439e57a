"""Whether a model is compiled is found out on its own work, in long runs only, and changes no score beyond rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import gencls
from gencls import cli
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.likelihood.scoring import score
from gencls.models import compiling, tiny, zoo
from gencls.models.compiling import LONG, Compiling
from gencls.models.devices import compiles


class Work:
    """Passes that take as long as they are said to; the compiler takes a minute."""

    def __init__(self, plain: float, fast: float, works: bool = True) -> None:
        self.now, self.plain, self.fast, self.works = 0.0, plain, fast, works
        self.compiled: list[int] = []  # the passes before which the compiler was called
        self.passes = 0
        self.compiling = Compiling("toy", self._compile, lambda: self.now)

    def _compile(self) -> bool:
        self.compiled.append(self.passes)
        self.now += 60
        return self.works

    def __call__(self) -> int:
        self.passes += 1
        self.now += self.fast if self.compiling.on else self.plain
        return self.passes

    def run(self, sizes: list[int], following: int = 0) -> list[bool]:
        """Whether each pass ran compiled."""
        ways = []
        for i, n in enumerate(sizes):
            assert self.compiling.run(self, n, sum(sizes[i:]) + following) == self.passes
            ways.append(self.compiling.on)
        return ways


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gencls"]


def test_the_faster_one_goes_on_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(plain=4, fast=3)
    ways = work.run([4] * 2000)
    assert ways == [False] * 3 + [True] * 1997 and work.compiled == [3]
    assert work.run([4] * 5) == [True] * 5 and work.compiled == [3]  # the next run of the same model
    (line,) = said(caplog)
    assert line.startswith("gencls: toy goes on compiled") and "takes 0.75 s an evaluation instead of 1 " in line


def test_what_proves_slower_is_dropped_and_never_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(plain=3, fast=4)
    ways = work.run([1] * 2000)
    assert ways == [False] * 3 + [True] * 4 + [False] * 1993 and work.compiled == [3]
    (line,) = said(caplog)
    assert line.startswith("gencls: toy goes on as it is: compiled it takes 4 s an evaluation instead of 3 ")


def test_without_a_compiler_it_is_asked_for_once() -> None:
    work = Work(plain=3, fast=1, works=False)
    assert work.run([1] * 2000) == [False] * 2000
    assert work.compiled == [3]


@pytest.mark.parametrize(
    ("seconds", "passes", "compiled"),
    [(0.9, int(LONG) + 3, []), (1.1, int(LONG) + 3, [3]), (1000, 9, []), (1000, 10, [3])],
)
def test_only_what_lies_ahead_counts_and_it_must_be_enough_to_compare(
    seconds: float, passes: int, compiled: list[int]
) -> None:
    """Three passes have been done when it is decided, and each further one leaves less to be won."""
    work = Work(plain=seconds, fast=0.5)
    work.run([1] * passes)
    assert work.compiled == compiled


def test_calls_that_follow_count_in_and_a_shorter_pass_is_not_compared() -> None:
    work = Work(plain=16, fast=8)
    assert not any(work.run([16, 16, 16, 3]))  # 48 s
    assert work.run([16], 16 * 100) == [True]
    assert work.compiled == [4]
    assert all(work.run([2, 16, 16, 16, 2, 16], 16 * 90))  # 8 s for two are more an evaluation than 16 for 16


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


@pytest.fixture
def compiler() -> None:
    if not compiles(torch.device("cpu"), "trial"):
        pytest.skip("torch.compile finds no compiler here")
    torch.compiler.reset()  # what another test compiled would be found again


@pytest.mark.parametrize("slower", [False, True])
def test_scores_are_those_of_the_eager_model_and_the_record_says_what_ran(
    slower: bool, compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "LONG", 0.0)
    tiny.build("vit").save_pretrained(tmp_path)
    eager, trying = (gencls.load(str(tmp_path), compile=wanted) for wanted in (False, "auto"))
    assert trying.model.compiling is not None
    now, compiled = 0.0, 10.0 if slower else 0.5

    def clock() -> float:
        """Whatever the machine, a second goes by from call to call, or what is said for a compiled model."""
        nonlocal now
        now += compiled if trying.model.compiling.on else 1.0
        return now

    monkeypatch.setattr(trying.model.compiling, "_clock", clock)
    expected = eager.classify(list(IMAGES), ["cat", "dog"]).scores["log_probability"]
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    found = [trying.classify(list(IMAGES[i : i + 2]), ["cat", "dog"], following=18 - i).scores for i in range(0, 20, 2)]
    assert torch._dynamo.utils.counters["frames"]["ok"] > frames  # something was compiled
    values = np.concatenate([scores["log_probability"] for scores in found])
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    ways = [scores.attrs.get("compiled") for scores in found]
    assert ways == [None] * 3 + ["yes"] * 4 + [None if slower else "yes"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("plan", [Exhaustive(2), Staged(4, keep=(3,))], ids=["exhaustive", "staged"])
def test_a_diffusion_model_that_compiles_itself_under_way_scores_as_before(
    plan: Exhaustive, compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "LONG", 0.0)
    zoo.open_model.cache_clear()  # a model that has decided does not decide again
    eager, trying = (zoo.open_model("shapes/pixel", compile=wanted) for wanted in (False, "auto"))
    for model in (eager, trying):
        monkeypatch.setattr(model, "budget", 16)  # one stimulus a pass
    photos = gencls.world("shapes").stimuli("photos", 6)
    expected, found = (score(model, photos, plan=plan, progress=False) for model in (eager, trying))
    np.testing.assert_allclose(found["error"], expected["error"], rtol=1e-5)
    assert found.attrs["compiled"] == "in part" and "compiled" not in expected.attrs


def test_the_command_compiles_in_a_long_run_and_not_in_a_short_one(
    compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cli, "CHUNK", 2)
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    model = tmp_path / "vit"
    tiny.build("vit").save_pretrained(model)
    command = ["classify", str(tmp_path), "--model", str(model), "--classes", "cat,dog", "--json"]
    found = []
    for seconds, option in ((LONG, []), (0.0, ["--no-compile"]), (0.0, [])):  # a run is long where it exceeds these
        zoo.open_model.cache_clear()
        monkeypatch.setattr(compiling, "LONG", seconds)
        done = CliRunner().invoke(cli.app, [*command, *option])
        assert done.exit_code == 0
        found.append(json.loads(done.stdout))
    assert [one.get("compiled") for one in found] == [None, None, "in part"]
    (line,) = said(caplog)
    assert line.startswith(f"gencls: {model} goes on ")
    for one in found[1:]:
        for image, same in zip(one["images"], found[0]["images"], strict=True):
            assert list(image["scores"].values()) == pytest.approx(list(same["scores"].values()), rel=1e-5, abs=1e-5)
