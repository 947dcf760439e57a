"""Records: scores kept on disk, with everything needed to make them again. No torch is needed to read one.

A finished record is one zipped zarr store. While it is being made it is a folder of stimuli beside it (`….part`), one small
file each, so that a kill loses at most the stimuli in flight; the next run takes the rest up again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from gencls import downloads
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive


def binding(
    name: str,
    kind: str,
    plan: Exhaustive,
    seed: int,
    prompt: str,
    classes: Sequence[str],
    noise: float = 0.0,
    dtype: str = "float32",
) -> dict[str, str]:
    """What scores hang on besides the stimuli and the weights. `noise`: the share that a classifier is shown its images with."""
    levels = kind in ("diffusion", "noised")  # it is asked at noise levels
    return {
        "model": name,
        "plan": plan.key() if levels else "",
        "seed": str(seed) if levels or noise else "",
        "prompt": "" if kind in ("discriminative", "noised") else prompt,
        "dtype": dtype,
        "noise": f"{noise:g}" if noise else "",
        "classes": json.dumps(classes) if any("|" in c for c in classes) else "|".join(classes),
    }


def key(bound: dict[str, str]) -> str:
    """Twelve digits that stand for what scores hang on besides the stimuli."""
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()[:12]


def read(path: Path) -> xr.Dataset:
    """The scores of a finished record; GenclsError for what is none."""
    try:
        with zarr.storage.ZipStore(path, mode="r") as store:
            scores = xr.open_zarr(store, consolidated=False).load()
        return scores.assign_coords(
            {n: v.astype(object).astype(str) for n, v in scores.coords.items() if v.dtype.kind in "OT"}
        )
    except MemoryError:
        raise
    except Exception as error:  # zarr, zip and numpy each fail in their own ways on damaged data
        if not Path(path).is_file():
            raise GenclsError(f"there is no record {path}") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise GenclsError(f"the record {path} cannot be read: {error.strerror}") from error
        raise GenclsError(
            f"{path} is no record of scores, or a damaged one ({type(error).__name__}); if it is one, delete it and score again"
        ) from error


def write(scores: xr.Dataset, path: Path) -> None:
    """Write a finished record: whole, or not at all."""
    texts = {name: value.astype(object) for name, value in scores.coords.items() if value.dtype.kind == "U"}
    chunks = {name: {"chunks": value.shape} for name, value in scores.data_vars.items()}
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            plain = scores.drop_encoding().assign_coords(texts)
            plain.to_zarr(folder, mode="w", consolidated=False, encoding=chunks)
            with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
                for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                    entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())  # no date: equal scores, equal bytes
                    archive.writestr(entry, file.read_bytes())
        new.replace(path)
    except OSError as error:
        raise GenclsError(
            f"the record {path} could not be written ({error.strerror or error}); free some space or choose another "
            "folder, and run again: what was computed is kept"
        ) from error
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One run at a time reads and writes a record, whose folder is made; the others wait."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with downloads.alone(path):
            yield
    except OSError as error:
        raise GenclsError(
            f"the record {path} could not be written ({error.strerror or error}); choose another folder, and run again: what "
            "was computed is kept"
        ) from error


def unfinished(path: Path) -> Path:
    """The folder beside a record in which it is made."""
    return path.with_name(path.name + ".part")


class Work:
    """An unfinished record: a folder with one file a stimulus, each written whole or not at all.

    A stimulus is known by its digest and its key in the noise; `made` is the `key` of what else its scores hang on.
    """

    def __init__(self, folder: Path, made: str) -> None:
        self.folder, self.made = folder, made

    def _file(self, digest: str, key: str) -> Path:
        return self.folder / f"{self.made}-{digest}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.npy"

    def put(self, digest: str, key: str, values: np.ndarray, again: bool = True) -> None:
        file = self._file(digest, key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            new = file.with_suffix(f".{os.getpid()}.new")
            with new.open("wb") as opened:
                np.save(opened, values, allow_pickle=False)
            new.replace(file)
        except OSError as error:
            if (
                isinstance(error, FileNotFoundError) and again
            ):  # another run of the same has ended, and taken the folder away
                return self.put(digest, key, values, again=False)
            raise GenclsError(
                f"scores could not be written to {self.folder} ({error.strerror or error}); free some space or choose "
                "another folder, and run again: what was computed is kept"
            ) from error

    def get(self, digest: str, key: str) -> np.ndarray | None:
        try:
            return np.load(self._file(digest, key), allow_pickle=False)
        except (FileNotFoundError, EOFError, ValueError):  # none, or one that a power cut left empty
            return None

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def matching(
    scores: xr.Dataset, bound: dict[str, str], names: Sequence[str], digests: Sequence[str]
) -> list[int | None]:
    """Each stimulus's row on this record, None where its score is not on it. The noise goes by the name, the rest by the pixels.

    A record whose weights do not ship is bound by everything but the model's digest: `bound` leaves it out.
    """
    if any(str(scores.attrs.get(name)) != value for name, value in bound.items()):
        return [None] * len(names)
    on_record = zip(scores["stimulus"].values, scores["digest"].values, strict=True)
    rows = {(str(name), str(digest)): i for i, (name, digest) in enumerate(on_record)}
    return [rows.get((name, digest)) for name, digest in zip(names, digests, strict=True)]


def by_rows(scores: xr.Dataset) -> xr.Dataset:
    """The log-likelihoods of an autoregressive model summed over each row of its tokens, for a record as small as that; other scores as they are."""
    if "log_likelihood" not in scores or "column" not in scores.coords:
        return scores
    rows = scores["log_likelihood"].astype("float64").groupby("row").sum()  # stimulus × class × row
    kept = scores.drop_dims("token").assign(log_likelihood=rows.astype("float32").swap_dims(row="token"))
    return kept.assign_attrs(tokens="summed over each row")


def alike(first: xr.Dataset, second: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Two that hang on the same, with as many tokens: where one keeps the rows' sums, both do."""
    if first.sizes.get("token") == second.sizes.get("token"):
        return first, second
    return by_rows(first), by_rows(second)


def join(first: xr.Dataset, second: xr.Dataset) -> xr.Dataset:
    """Scores of some stimuli, then those of others that hang on the same; what else a record says is the first's."""
    return xr.concat(
        alike(first, second),
        "stimulus",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
