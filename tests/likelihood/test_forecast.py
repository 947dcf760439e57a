"""What a dry run says is what the run then takes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

import gencls
from gencls.cli import app
from gencls.likelihood import forecast, records
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.models import tiny


def test_a_dry_run_counts_the_rows_that_the_network_then_gets(tmp_path: Path) -> None:
    pipeline = tiny.build("sd")
    pipeline.save_pretrained(tmp_path / "tiny-sd")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    command = ["classify", *map(str, paths), "--model", str(tmp_path / "tiny-sd"), "--classes", "cat,dog,car"]
    said = CliRunner().invoke(app, [*command, "--dry-run"])
    assert said.exit_code == 0
    counted = re.search(r"network evaluations: (\d+)", said.stdout)
    rows: list[int] = []
    observer = gencls.load(str(tmp_path / "tiny-sd"))
    handle = observer.model.adapter.net.register_forward_pre_hook(lambda _m, args: rows.append(len(args[0])))
    observer.classify(paths, ["cat", "dog", "car"])
    handle.remove()
    assert counted and int(counted[1]) == sum(rows) == 2 * 3 * 16
    weights = re.search(r"weights: ([\d,]+) numbers", said.stdout)
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    own = sum(p.numel() for part in parts for p in part.parameters())
    assert weights and int(weights[1].replace(",", "")) == pytest.approx(own, rel=1e-3)  # buffers may be saved, too


def test_a_dry_run_of_what_is_not_there_says_so() -> None:
    with pytest.raises(gencls.GenclsError, match="no model 'shapes/pixle' is here"):
        forecast.told("shapes/pixle", 1, 2)


def test_classes_that_a_plan_drops_are_not_counted() -> None:
    plan = Staged(timesteps=6, keep=(3, 2), draws=2)
    assert forecast.evaluations("diffusion", plan, 5, 16) == 5 * 2 * 2 * (16 + 3 + 2)
    assert forecast.evaluations("diffusion", Staged(timesteps=2, keep=(5,)), 1, 3) == 2 * 3
    assert forecast.evaluations("autoregressive", plan, 5, 16) == 80
    assert forecast.evaluations("discriminative", plan, 5, 16) == 5


@pytest.mark.parametrize("stimuli", [10, 200])
def test_the_record_is_as_large_as_said_within_a_factor_of_two(stimuli: int, tmp_path: Path) -> None:
    model = gencls.load("shapes/pixel").model
    some = gencls.world("shapes").stimuli("photos", 2)
    from gencls.likelihood.scoring import score

    one = score(model, some, plan=Exhaustive(16), progress=False).isel(stimulus=[0] * stimuli)
    values = np.random.default_rng(0).normal(size=one["error"].shape).astype(np.float32)
    names = np.array([f"test-photos-{i:05}" for i in range(stimuli)])
    one = one.assign(error=xr.DataArray(values, dims=one["error"].dims)).assign_coords(stimulus=names)
    records.write(one, tmp_path / "r.zarr.zip")
    real = (tmp_path / "r.zarr.zip").stat().st_size
    assert real / 2 < forecast.record_bytes("diffusion", Exhaustive(16), stimuli, 16) < real * 2
