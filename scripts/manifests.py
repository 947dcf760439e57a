"""Make the tables of digests that downloads are checked against (`gencls/data/manifests/*.gz`).

Run where the archives are known to be good: `GENCLS_MIRROR=... python scripts/manifests.py`, or with `weights` for that of this checkout's
weights alone.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

from gencls.archives import Archive, digest
from gencls.downloads import fetch
from gencls.models.weights import CHECKOUT

HERE = Path(__file__).resolve().parent.parent / "gencls" / "data" / "manifests"


def lines(source: str) -> list[str]:
    """`digest  path` of each file inside; Tiny-ImageNet's training photographs a folder at a time."""
    archive = Archive(fetch(source), source)
    # GitHub's archive of model-vs-human holds code, too, which is not read.
    folders_read = ("raw-data", "licenses") if source == "model-vs-human" else ("",)
    names = [name for folder in folders_read for name in archive.names(folder)]
    table: list[str] = []
    folders: dict[str, list[str]] = {}
    for name in names:
        folder = name.rpartition("/")[0] + "/"
        if source == "tiny-imagenet" and folder.startswith("train/"):
            folders.setdefault(folder, []).append(digest(archive.read(name)))
        elif source == "tiny-imagenet" and name == "val/val_annotations.txt":
            table.append(f"-  {name}")  # a mirror may hold the lines of some classes only
        else:
            table.append(f"{digest(archive.read(name))}  {name}")
    return table + [f"{digest(''.join(inside).encode())}  {folder}" for folder, inside in folders.items()]


def weights() -> list[str]:
    """`SHA-256  path` of each file in the checkout's `weights/`."""
    found = sorted(path for path in CHECKOUT.rglob("*") if path.is_file())
    return [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(CHECKOUT).as_posix()}" for p in found]


def write(name: str, table: list[str]) -> None:
    """One table, by path."""
    text = "".join(f"{line}\n" for line in sorted(table, key=lambda line: line.split("  ", 1)[1]))
    HERE.mkdir(parents=True, exist_ok=True)
    (HERE / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    print(name, len(table), (HERE / f"{name}.gz").stat().st_size)


if __name__ == "__main__":
    write("weights", weights())
    for source in () if sys.argv[1:] == ["weights"] else ("model-vs-human", "texture-vs-shape", "tiny-imagenet"):
        write(source, lines(source))
