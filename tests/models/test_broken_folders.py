"""A model's folder that is broken, of an unknown class, or named by a path: one sentence, or the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from gencls.errors import GenclsError
from gencls.models import tiny
from gencls.models.zoo import open_model


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _renamed(path: Path, name: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": name}))


def _unnamed(path: Path, name: str) -> None:
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != name}))


def _without(part: Path, dropped: int) -> None:
    """A part's first weights left out, or its first cut short."""
    (path,) = part.glob("*.safetensors")
    weights = load_file(path)
    first, second = sorted(weights)[:2]
    kept = {name: w for name, w in weights.items() if name not in (first, second)[:dropped]}
    save_file(kept if dropped else weights | {first: weights[first].flatten()[:-1].clone()}, path, {"format": "pt"})


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "weights cut short": ("vit", lambda f: _cut(f / "model.safetensors"), "no model that transformers can open"),
    "config cut short": ("vit", lambda f: _cut(f / "config.json"), "config.json is no JSON"),
    "config of a list": ("vit", lambda f: (f / "config.json").write_text("[]"), "config.json says nothing by name"),
    "own preprocessing": ("vit", lambda f: (f / "preprocessor_config.json").write_text('{"magnify": 1}'), "lacks image_mean, image_std, size"),
    "index cut short": ("sd", lambda f: _cut(f / "model_index.json"), "model_index.json is no JSON"),
    "another kind": ("sd", lambda f: _renamed(f / "model_index.json", "StableDiffusionXLPipeline"), "names no (text_encoder|tokenizer)_2"),
    "no such class": ("sd", lambda f: _renamed(f / "model_index.json", "FooPipeline"), "no adapter for a FooPipeline; known are"),
    "a part left out": ("sd", lambda f: shutil.rmtree(f / "tokenizer"), "there is no tokenizer"),
    "a part cut short": ("sd", lambda f: _cut(f / "tokenizer" / "tokenizer.json"), "missing or broken"),
    "a part unnamed": ("sd", lambda f: _unnamed(f / "model_index.json", "tokenizer"), "missing or broken: .*tokenizer"),
    "encoder without a weight": ("sd", lambda f: _without(f / "text_encoder", 1), "of the network's weights are not in .*text_encoder"),
    "network without a weight": ("sd", lambda f: _without(f / "unet", 1), "1 of the unet's weights are not in"),
    "weight of another size": ("sd", lambda f: _without(f / "vae", 0), "missing or broken"),
    "a class without adapter": ("sd", lambda f: _renamed(f / "model_index.json", "DiTPipeline"), "no adapter for a DiTPipeline"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_one_sentence(what: str, tmp_path: Path) -> None:
    family, damage, why = BROKEN[what]
    tiny.build(family).save_pretrained(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(GenclsError, match=why):
        open_model(str(tmp_path / "model"))


def test_a_folder_above_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.build("vit").save_pretrained(tmp_path / "model")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert open_model("../model").name == "../model"
    with pytest.raises(GenclsError, match="nothing"):
        open_model("../nothing")


def test_a_tiny_model_is_not_written_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"weeks of work")
    monkeypatch.setattr("sys.argv", ["tiny", "vit", str(tmp_path / "mine")])
    with pytest.raises(SystemExit):
        tiny.main()
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == b"weeks of work"
