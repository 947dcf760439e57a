"""Where a model runs, as far as a machine without an accelerator can tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import gencls
from gencls.cli import app
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.models import tiny
from gencls.models.devices import choose, compiles, devices, place
from gencls.models.diffusion import DiffusionModel


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


IMAGES = list(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
OFFLOADED = ["sd", "sdxl", "sd3", "pixart-sigma", "sana", "deepfloyd"]


def _errors(pipeline: Any, family: str) -> torch.Tensor:
    model = DiffusionModel(pipeline, family)
    x0 = model.encode(IMAGES)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)).to(x0.device)
    given = model.conditions(["a cat", "a dog"])
    return model.errors(x0, noise, torch.full((2,), 0.5), torch.arange(2).expand(2, -1), given).cpu()


@pytest.mark.parametrize("family", OFFLOADED)
def test_every_part_is_called_through_the_hook_that_brings_it_to_the_card(family: str) -> None:
    """Without a card the hooks bring the parts to the processor; a part that scoring used past its hook would stay behind on a card."""
    pipeline = tiny.build(family)
    expected = _errors(tiny.build(family), family)
    pipeline.enable_model_cpu_offload(device="cpu")
    came: set[str] = set()
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    for name, part in parts.items():
        bring = part._hf_hook.pre_forward

        def noted(*args: Any, name: str = name, bring: Any = bring, **given: Any) -> Any:
            came.add(name)
            return bring(*args, **given)

        part._hf_hook.pre_forward = noted
    np.testing.assert_allclose(_errors(pipeline, family), expected, rtol=1e-6)
    assert came == set(parts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card to offload from")
@pytest.mark.parametrize("family", OFFLOADED)
def test_an_offloaded_pipeline_scores_as_one_on_the_card_and_leaves_it(family: str) -> None:
    card = torch.device("cuda")
    whole, offloaded = (place(tiny.build(family), card, family, offload=offload) for offload in (False, True))
    np.testing.assert_allclose(_errors(offloaded, family), _errors(whole, family), rtol=1e-4)
    parts = [part for part in offloaded.components.values() if isinstance(part, torch.nn.Module)]
    assert sum(next(part.parameters()).device.type == "cuda" for part in parts) <= 1  # the one at work


def test_the_command_takes_a_device(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    command = ["classify", str(tmp_path / "a.png"), "--model", "shapes/resnet"]
    fine, gone = (CliRunner().invoke(app, [*command, "--device", device]) for device in ("cpu", "cuda:99"))
    assert fine.exit_code == 0 and "a.png" in fine.stdout
    assert gone.exit_code == 2 and gone.stderr.startswith("gencls: no device 'cuda:99' on this machine")
    assert len(gone.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "family", ["vit", pytest.param("sd", marks=pytest.mark.slow), pytest.param("janus", marks=pytest.mark.slow)]
)
def test_a_compiled_model_scores_as_an_eager_one_and_says_so(family: str, tmp_path: Path) -> None:
    tiny.build(family).save_pretrained(tmp_path)
    if not compiles(torch.device("cpu"), "trial"):
        pytest.skip("torch.compile finds no compiler here")
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    kept = dict(torch._dynamo.utils.counters["frames"])
    eager, compiled = (
        gencls.load(str(tmp_path), compile=wanted).classify(list(image), ["cat", "dog"], plan=Exhaustive(2)).scores
        for wanted in (False, True)
    )
    assert torch._dynamo.utils.counters["frames"]["ok"] > kept.get("ok", 0)  # something was compiled
    (name,) = eager.data_vars
    np.testing.assert_allclose(compiled[name], eager[name], rtol=1e-5, atol=1e-6)
    assert compiled.attrs["compiled"] == "yes" and "compiled" not in eager.attrs


def test_without_a_compiler_the_model_runs_as_it_is_and_one_sentence_says_why(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "gencls.cli", "classify", str(tmp_path / "a.png"), "--model", "shapes/resnet"]
    bare = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "CXX": "no-such-compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    environment = {**os.environ, **bare}
    plain, compiled = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=True)
        for more in ([], ["--compile"])
    )
    assert compiled.stdout == plain.stdout
    said = [line for line in compiled.stderr.splitlines() if line.startswith("gencls: shapes/resnet is not compiled")]
    assert len(said) == 1 and said[0].endswith("it runs as it is")
