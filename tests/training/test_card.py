"""Training on an accelerator, as far as a machine without one can tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gencls.cli import app


def test_every_training_on_a_card_ends_in_the_weights_of_one_on_the_processor() -> None:
    """And is taken up again from its checkpoint; in a process of its own, since a device that is made up stays."""
    done = subprocess.run([sys.executable, Path(__file__).with_name("card.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("given", [["--presentations", "5"], ["--presentations", "500000", "--minutes", "1"]])
def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_begun(given: list[str], tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["train", "shapes/ar", "--out", str(tmp_path / "ar"), *given])
    assert said.exit_code == 2 and "presentations" in said.stderr and not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_named_before_anything_is_begun(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["train", "shapes/resnet", "--out", str(tmp_path / "r"), "--device", "cuda:99"])
    assert (
        said.exit_code == 2 and said.stderr.startswith("gencls: no device 'cuda:99'") and not list(tmp_path.iterdir())
    )
