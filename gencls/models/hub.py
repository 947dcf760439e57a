"""Models of the Hugging Face hub, `hf:REPO[@REVISION]`: fetched into the hub's own cache, found there without a network.

Where to log in, and where the cache lies, is the hub's own affair: `hf auth login`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gencls import downloads
from gencls.errors import GenclsError

#: Parts of a pipeline that scoring never asks: neither downloaded nor loaded.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")
#: The file that says what a folder is: a pipeline's, a classifier's.
_HEADS = ("model_index.json", "config.json")
#: Configurations and tokenizers; with weights, what a classifier's folder is made of.
_SMALL = ["*.jinja", "*.json", "*.txt", "*.model"]
_CLASSIFIER = (*_SMALL, "*.safetensors")
PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")


def parse(model: str) -> tuple[str, str | None]:
    """`hf:REPO[@REVISION]` → (repository, revision or None)."""
    match = re.fullmatch(r"hf:((?:\w[\w.-]*/)?\w[\w.-]*)(?:@(\w[\w./-]*))?", model)
    if not match:
        raise GenclsError(f"{model!r} is no id of the hub; write it as in hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return match[1], match[2]


def cached(model: str) -> Path | None:
    """The folder of a model in the hub's cache, None where it is not (or not the revision)."""
    if not find_spec("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache

    repo, revision = parse(model)
    for name in _HEADS:
        if isinstance(found := try_to_load_from_cache(repo, name, revision=revision), str):
            return Path(found).parent
    return None


class Unreachable(GenclsError):
    """The hub cannot be reached, and what was asked for is not here."""


def fetch(model: str, allow_pickles: bool = False) -> Path:
    """The folder of a model in the hub's cache, downloaded as far as it is not there.

    A branch is looked up anew each time; without a network what the cache has of it is taken. GenclsError says in one
    sentence why there is nothing: no such repository or revision, gated, no token, no network, only pickles.
    """
    return _had(model, lambda repo, revision: _download(repo, revision, allow_pickles))


def configurations(model: str) -> Path:
    """A folder with a model's configurations and tokenizers, some MB, and no weights; downloaded as far as they are not there.

    It lies in gencls's own cache: in the hub's it would pass for the model. Errors as in `fetch`.
    """
    from huggingface_hub import snapshot_download

    def small(repo: str, revision: str | None) -> Path:
        unused = [f"{part}/*" for part in UNUSED]
        place = downloads.cache_folder() / "configurations"
        folder = Path(
            snapshot_download(repo, revision=revision, cache_dir=place, allow_patterns=_SMALL, ignore_patterns=unused)
        )
        if not any((folder / name).is_file() for name in _HEADS):
            raise _no_model(repo)
        return folder

    return _had(model, small)


def _had(model: str, get: Callable[[str, str | None], Path]) -> Path:
    """What `get` makes of repository and revision; GenclsError says in one sentence why that is nothing."""
    from huggingface_hub import constants, errors, get_token

    repo, revision = parse(model)
    page = f"{constants.ENDPOINT}/{repo}"
    login = "the token here was not let in" if get_token() else "no token is here: run `hf auth login`, or set HF_TOKEN"
    try:
        return get(repo, revision)
    except errors.GatedRepoError as error:
        raise GenclsError(f"{model} is gated: accept its terms at {page} and be logged in ({login})") from error
    except errors.RevisionNotFoundError as error:
        raise GenclsError(
            f"{model}: {repo} has no revision {revision!r}, or no longer; see {page}/commits/main for those it has"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise GenclsError(
            f"{model}: the hub has no {repo}, or it is private; check the name at {page} ({login})"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = "log in again with `hf auth login`" if status in (401, 403) else "try again later"
        raise GenclsError(f"{model}: {constants.ENDPOINT} answers {status}; {hint}") from error
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        if folder := cached(model):
            return folder
        raise Unreachable(
            f"{model} is not on this machine, and {constants.ENDPOINT} cannot be reached; connect, copy the cache "
            f"({constants.HF_HUB_CACHE}) from a machine that has it, or name a local folder"
        ) from error


def _download(repo: str, revision: str | None, allow_pickles: bool) -> Path:
    from diffusers import DiffusionPipeline
    from huggingface_hub import HfApi, snapshot_download

    files = {entry.rfilename for entry in HfApi().model_info(repo, revision=revision).siblings or ()}
    pickled = any(name.endswith(PICKLES) for name in files)
    if "model_index.json" in files:
        safe = None if allow_pickles else True
        unused: dict[str, Any] = dict.fromkeys(UNUSED)
        try:
            return Path(DiffusionPipeline.download(repo, revision=revision, use_safetensors=safe, **unused))
        except OSError as error:
            if pickled and not allow_pickles and "safetensors" in str(error):
                raise only_pickles(f"hf:{repo}") from error
            raise
    if "config.json" not in files:
        raise _no_model(repo)
    if pickled and not any(name.endswith(".safetensors") for name in files) and not allow_pickles:
        raise only_pickles(f"hf:{repo}")
    patterns = [*_CLASSIFIER, *(f"*{end}" for end in PICKLES)] if allow_pickles else list(_CLASSIFIER)
    return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))


def _no_model(repo: str) -> GenclsError:
    return GenclsError(f"hf:{repo} has neither a model_index.json (a pipeline) nor a config.json (a classifier)")


def only_pickles(name: str) -> GenclsError:
    """The refusal of weights that are only there as pickles."""
    return GenclsError(
        f"{name} has weights only as pickles, which can run code when they are opened; ask for safetensors, or, if you "
        "trust who made them, allow it with --allow-pickles (they are then read as bare tensors, weights_only)"
    )


def settings(path: Path) -> dict[str, Any]:
    """What a model's JSON file says; GenclsError where it is cut short or says nothing by name."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GenclsError(f"{path} is no JSON ({error}); fetch or copy the model's folder again") from error
    if not isinstance(found, dict):
        raise GenclsError(f"{path} says nothing by name; fetch or copy the model's folder again")
    return found


def quiet() -> None:
    """Let diffusers and transformers open models without a word: their bars count files, and they warn of a missing torchvision, which nothing here needs."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def open_pipeline(folder: Path, name: str, allow_pickles: bool = False, weights: bool = True) -> Any:
    """The diffusers pipeline in a folder, float32, without the parts that scoring never asks.

    Without `weights`, its networks are built from their configurations on the meta device: shapes and no numbers.
    """
    import torch
    from diffusers import DiffusionPipeline
    from safetensors import SafetensorError

    from gencls.models.adapters import adapter_of
    from gencls.models.pixel import PixelPipeline

    index = settings(folder / "model_index.json")
    adapter_of(str(index.get("_class_name")), name)  # before anything is opened
    kind = PixelPipeline if index.get("_class_name") == PixelPipeline.__name__ else DiffusionPipeline
    for part, told in index.items():  # without its files, a tokenizer would open as one that knows no word
        if isinstance(told, list) and told[0] and part not in UNUSED and not (folder / part).is_dir():
            raise GenclsError(f"{name}: a part of the pipeline in {folder} is missing or broken: there is no {part}")
    options: dict[str, Any] = {part: None for part in UNUSED if part in index}
    if "safety_checker" in index:
        options["requires_safety_checker"] = False
    try:
        options |= _encoders(folder, index, name, allow_pickles) if weights else _bare(folder, index, name)
        pipeline = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=None if allow_pickles else True,
            dtype=torch.float32,  # whatever it is kept in
            **options,
        )
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if (
            not allow_pickles
            and "safetensors" in str(error)
            and any(path.name.endswith(PICKLES) for path in folder.rglob("*"))
        ):
            raise only_pickles(name) from error
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GenclsError(f"{name}: a part of the pipeline in {folder} is missing or broken: {first}") from error
    readers = [part for part in pipeline.components if part.startswith(("tokenizer", "text_encoder"))]
    if unnamed := [part for part in readers if part not in index]:  # a part that it does without is named, as null
        raise GenclsError(
            f"{name}: {folder / 'model_index.json'} calls it a {index.get('_class_name')}, but names no {unnamed[0]}; is it a pipeline of another kind?"
        )
    for part, network in pipeline.components.items() if weights else ():
        if not isinstance(network, torch.nn.Module):
            continue
        if lacking := [key for key, value in network.named_parameters() if value.is_meta]:  # diffusers' sign of none
            raise GenclsError(
                f"{name}: {len(lacking)} of the {part}'s weights are not in {folder / part} (such as {lacking[0]}); fetch or copy the model's folder again"
            )
    return pipeline


def _encoders(folder: Path, index: dict[str, Any], name: str, allow_pickles: bool) -> dict[str, Any]:
    """A pipeline's networks of transformers, each with all of its weights; diffusers would let missing ones be random."""
    import torch
    import transformers

    from gencls.models.folders import open_network

    found = {}
    for part, told in index.items():
        if part not in UNUSED and isinstance(told, list) and told[0] == "transformers":
            kind = getattr(transformers, str(told[1]), None)
            if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
                found[part] = open_network(kind, folder / part, name, allow_pickles)
    return found


def _bare(folder: Path, index: dict[str, Any], name: str) -> dict[str, Any]:
    """A pipeline's networks by their names in its model_index.json, on the meta device."""
    import torch

    found = {}
    for part, told in index.items():
        if part in UNUSED or not isinstance(told, list) or told[0] is None:
            continue
        try:
            kind = getattr(import_module(told[0]), told[1])
        except (ImportError, AttributeError) as error:
            raise GenclsError(f"{name}: its {part} is a {told[0]}.{told[1]}, which is not installed here") from error
        if issubclass(kind, torch.nn.Module):
            with torch.device("meta"):
                if hasattr(kind, "load_config"):
                    found[part] = kind.from_config(kind.load_config(folder / part))
                else:
                    found[part] = kind(kind.config_class.from_pretrained(folder / part))
    return found
