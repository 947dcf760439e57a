"""Opening what transformers left in a folder, with a sentence where it cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from gencls.errors import GenclsError
from gencls.models import hub


def open_network(kind: Any, folder: Path, name: str, allow_pickles: bool) -> Any:
    """The network in a folder, float32; every weight of it must be there, so that none is left at random."""
    safe = None if allow_pickles else True

    def load() -> Any:
        return kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=safe, dtype=torch.float32, output_loading_info=True
        )

    if (
        not allow_pickles
        and not any(folder.glob("*.safetensors"))
        and any(p.name.endswith(hub.PICKLES) for p in folder.iterdir())
    ):
        raise hub.only_pickles(name)
    network, told = opened(load, folder, name)
    if missing := [*told["missing_keys"], *told.get("mismatched_keys", ())]:
        raise GenclsError(
            f"{name}: {len(missing)} of the network's weights are not in {folder} (such as {sorted(map(str, missing))[0]}), so that its answers would be "
            "random; fetch or copy the model's folder again, or name a model that was trained for this"
        )
    return network


def opened(load: Callable[[], Any], folder: Path, name: str) -> Any:
    """What `load` finds; GenclsError says in one sentence why there is nothing."""
    try:
        return load()
    except ImportError as error:
        raise GenclsError(f"{name} needs a package that is not installed: {first_sentence(error)}") from error
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, TypeError, SafetensorError) as error:
        raise GenclsError(
            f"{name}: {folder} is no model that transformers can open: {first_sentence(error)}"
        ) from error


def first_sentence(error: Exception) -> str:
    """The first sentence of what another library says."""
    return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
