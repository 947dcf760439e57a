"""What a dry run says is what the run then takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import gencls
from gencls import categories as cats
from gencls.cli import app
from gencls.likelihood import costs, forecast, records
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.models import tiny
from gencls.models.diffusion import DiffusionModel


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
    assert re.search(r"time: about .* on cpu \(.* in a short probe", said.stdout)
    weights = re.search(r"weights: ([\d,]+) numbers", said.stdout)
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    own = sum(p.numel() for part in parts for p in part.parameters())
    assert weights and int(weights[1].replace(",", "")) == pytest.approx(own, rel=1e-3)  # buffers may be saved, too


def test_a_dry_run_of_what_is_not_there_says_so() -> None:
    with pytest.raises(gencls.GenclsError, match="no model 'shapes/pixle' is here"):
        forecast.told("shapes/pixle", 1)


def test_a_pointer_in_the_place_of_weights_is_named(tmp_path: Path) -> None:
    tiny.build("sd").save_pretrained(tmp_path / "sd")
    (path,) = (tmp_path / "sd" / "unet").glob("*.safetensors")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n")
    with pytest.raises(gencls.GenclsError, match="is no safetensors file"):
        forecast.told(str(tmp_path / "sd"), 1, ["cat", "dog"])


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


def _allocated(run: object, folder: Path) -> int:
    """Bytes that torch's allocator holds at once during `run`, beyond those before it, as its profiler has seen them."""
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    profile.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    now = [e["args"] for e in sorted(events, key=lambda e: e.get("ts", 0)) if e.get("name") == "[memory]"]
    return max(a["Total Allocated"] for a in now) - (now[0]["Total Allocated"] - now[0]["Bytes"])


@pytest.mark.parametrize("family", ["sd", "pixart", "deepfloyd"])
def test_what_is_counted_without_weights_is_what_the_real_networks_do(family: str, tmp_path: Path) -> None:
    real = DiffusionModel(tiny.build(family), family)
    real.pipeline.save_pretrained(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()  # so that none can be read
    classes, n = ("cat", "dog", "car"), 4
    told = costs.of(str(tmp_path), n, classes)
    assert told is not None and told.seconds
    assert told.parameters == sum(p.numel() for p in real.adapter.net.parameters())
    given = real.conditions(cats.prompts(classes, cats.PROMPT))
    pictures = [np.zeros((40, 40, 3), np.uint8)] * n
    x_t = real.encode(pictures)
    every = torch.arange(3).expand(n, -1)
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        real.adapter.network((x_t[:1], torch.ones(1)), {name: value[:1] for name, value in given.items()})
    assert told.flops == counted.get_total_flops()
    passes = (lambda: real.encode(pictures), lambda: real.predict(x_t, torch.ones(n), every, given))
    seen = max(_allocated(run, tmp_path) for run in passes)
    assert told.rows == 12 and seen / 1.5 < told.activations < seen * 1.5


@pytest.mark.parametrize("family", ["vit", "janus"])
def test_models_that_are_no_pipelines_are_counted_as_they_are(family: str, tmp_path: Path) -> None:
    made = tiny.build(family)
    made.save_pretrained(tmp_path)
    told = costs.of(str(tmp_path), 2, ["cat", "dog"])
    assert told is not None and told.seconds and told.activations > 0
    assert told.parameters == sum(p.numel() for p in made.network.parameters())
    linear = [m for m in made.network.modules() if isinstance(m, torch.nn.Linear)]
    assert told.flops > 2 * sum(m.weight.numel() for m in linear[1:-1])  # each is asked for one row at least


def test_a_network_that_does_not_fit_is_counted_and_not_probed(tmp_path: Path) -> None:
    tiny.build("sd").save_pretrained(tmp_path)
    path = tmp_path / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"block_out_channels": [2**16, 2**17]}))
    said = forecast.told(str(tmp_path), 2, ["cat", "dog"])
    assert re.match(r"\d,\d{3},\d{3},\d{3},\d{3} parameters", said["network"])
    assert said["time"].startswith("not known: the network does not fit into the memory that is free on cpu")
