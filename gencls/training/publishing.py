"""From a trained model to its folder: weights, preprocessing, what it was measured to be, and the card."""

from __future__ import annotations

import json
import math
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencls.errors import GenclsError
from gencls.models.zoo import digest
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.shapes import ShapesWorld

if TYPE_CHECKING:
    import torch

    from gencls.training.recipes import Recipe


def publish(model: str, plan: Recipe, saved: Any, seconds: float, out: Path, device: torch.device) -> Path:
    """Write weights, preprocessing, temperature and card into a new folder, then put it in its place; of two at once the caller lets one pass."""
    new, old = (out.with_name(f".{out.name}.{age}") for age in ("new", "old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    saved.save_pretrained(new, safe_serialization=True)
    if plan.kind in ("resnet", "vit"):
        side = dict.fromkeys(("height", "width"), plan.side * plan.magnify)
        half = {"size": side, "resample": 0, "magnify": plan.magnify, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (new / "preprocessor_config.json").write_text(json.dumps(half, indent=1))
    if plan.of:
        (new / "preprocessor_config.json").write_text(json.dumps({"codes_of": plan.of, "digest": digest(plan.of)}))
    if plan.kind == "clip":
        from gencls.training.clip import processor

        processor(plan.side).save_pretrained(new)
    if plan.natural:
        _halve(new)
    facts = {"seconds": round(seconds), "presentations": plan.presentations}
    facts |= examine(new, model, plan)
    (new / "gencls.json").write_text(json.dumps(facts, indent=1))
    (new / "README.md").write_text(card(model, plan, seconds, facts, device))
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return out


def vacant(out: Path) -> None:
    """A GenclsError unless a model can be put there: an earlier one, an empty folder or nothing, in a folder that can be written to."""
    if out.exists() and not (out.is_dir() and ((out / "gencls.json").is_file() or not any(out.iterdir()))):
        raise GenclsError(f"{out} holds something else than a trained model; name a new folder, or empty it first")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise GenclsError(
            f"no model can be written to {out}: {error.strerror}; free some space or name another folder"
        ) from None


def _halve(folder: Path) -> None:
    """Keep a folder's weights in half precision; whatever opens it computes in float32."""
    from safetensors.torch import load_file, save_file

    for path in folder.rglob("*.safetensors"):
        weights = {name: w.half() if w.is_floating_point() else w for name, w in load_file(path).items()}
        save_file(weights, path, {"format": "pt"})


def examine(folder: Path, model: str, plan: Recipe) -> dict[str, Any]:
    """Temperature and accuracy on photos that training never showed, from their own split."""
    from gencls.likelihood.plans import Exhaustive
    from gencls.likelihood.scoring import score
    from gencls.likelihood.weightings import answers, fit_temperature
    from gencls.models.zoo import open_folder

    loaded = open_folder(folder, model)
    driver = plan.kind == "driver"  # trained on the bare category
    few = {"driver": 128, "noised-classifier": 128, "pixel": 256, "latent": 256}.get(
        plan.kind, None if plan.natural else 256
    )
    photos = plan.world.stimuli("photos", few, split="dev")
    scores = score(loaded, photos, plan=Exhaustive(8 if driver else 16), prompt=plan.prompt)
    right = photos.table["category"].tolist()
    n = len(right)
    correct = sum(a == b for a, b in zip(answers(scores), right, strict=True))
    low, high = _wilson(correct, n)
    return {
        "temperature": fit_temperature(scores, right),
        "in_distribution_accuracy": {"value": correct / n, "low": low, "high": high, "n": n, "split": "dev"},
    }


def _wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    centre, spread = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return centre - spread, centre + spread


def _commit() -> str:
    try:
        here = Path(__file__).parent
        done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _machine(device: torch.device) -> str:
    import torch

    from gencls.models.numbers import training_dtype

    place = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if device.type != "cpu":
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{place}, {str(training_dtype(device.type))[6:]} products"


def card(model: str, plan: Recipe, seconds: float, facts: dict[str, Any], device: torch.device) -> str:
    import torch

    accuracy = facts["in_distribution_accuracy"]
    rows = {
        "recipe": json.dumps({k: v for k, v in asdict(plan).items() if k != "world"}),
        "training photos": f"photos/train 0–{plan.photos - 1} of {plan.world}"
        if isinstance(plan.world, ShapesWorld)
        else f"{plan.world.count} classes of Tiny-ImageNet, {tiny_imagenet.SPLITS['train']} photographs each, mirrored half of the time",
        "photos' digest (first 256)": plan.world.stimuli("photos", n=256, split="train").digest()[:16],
        "presentations": f"{plan.presentations:,}"
        + (f", as many as a probe of the machine promised in {plan.minutes:g} minutes" if plan.minutes else ""),
        "commit": _commit(),
        "machine": _machine(device),
        "torch": torch.__version__,
        "wall time": f"{seconds / 60:.1f} min",
        "trained on": time.strftime("%Y-%m-%d"),
        "in-distribution accuracy": f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}], n = {accuracy['n']} (dev split)",
    }
    table = "\n".join(f"| {k} | {v} |" for k, v in rows.items())
    return f"# {model}\n\nMade by `gencls train {model}`.\n\n| | |\n| --- | --- |\n{table}\n"
