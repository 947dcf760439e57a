"""Where a model runs, as far as a machine without an accelerator can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gencls.cli import app
from gencls.errors import GenclsError
from gencls.models import tiny
from gencls.models.devices import choose, devices, place


def test_the_fastest_that_is_there_is_chosen_and_a_name_overrides_it() -> None:
    assert devices()[-1] == "cpu"
    assert choose().type == devices()[0]
    assert choose("cpu") == torch.device("cpu")
    assert (devices()[0] == "cuda") == torch.cuda.is_available()


@pytest.mark.parametrize("wanted", ["cuda:99", "tpu", "cpu:x", ""])
def test_a_device_that_is_not_there_is_named_with_those_that_are(wanted: str) -> None:
    with pytest.raises(GenclsError, match=r"no device .* on this machine; there are .*cpu"):
        choose(wanted)


def test_offloading_needs_a_card_and_a_pipeline() -> None:
    pipeline = tiny.build("sd")
    with pytest.raises(GenclsError, match="needs a card"):
        place(pipeline, torch.device("cpu"), "tiny", offload=True)
    with pytest.raises(GenclsError, match="only a pipeline"):
        place(torch.nn.Linear(2, 2), torch.device("cuda"), "linear", offload=True)


def test_the_command_takes_a_device(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    command = ["classify", str(tmp_path / "a.png"), "--model", "shapes/resnet"]
    fine, gone = (CliRunner().invoke(app, [*command, "--device", device]) for device in ("cpu", "cuda:99"))
    assert fine.exit_code == 0 and "a.png" in fine.stdout
    assert gone.exit_code == 2 and gone.stderr.startswith("gencls: no device 'cuda:99' on this machine")
    assert len(gone.stderr.splitlines()) == 1
