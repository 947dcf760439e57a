"""Make the tables of digests that downloads are checked against (`gencls/data/manifests/*.gz`).

Run where the archives are known to be good: `GENCLS_MIRROR=... python scripts/manifests.py`.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from gencls.archives import Archive, digest
from gencls.downloads import fetch

HERE = Path(__file__).resolve().parent.parent / "gencls" / "data" / "manifests"


def lines(source: str) -> list[str]:
    """`digest  path` of each file inside; Tiny-ImageNet's training photographs a folder at a time."""
    archive = Archive(fetch(source), source)
    # GitHub's archive of model-vs-human holds code, too, which is not read.
    folders_read = ("raw-data", "licenses") if source == "model-vs-human" else ("",)
    names = [name for folder in folders_read for name in archive.names(folder)]
    table, folders = [], {}
    for name in names:
        folder = name.rpartition("/")[0] + "/"
        if source == "tiny-imagenet" and folder.startswith("train/"):
            folders.setdefault(folder, []).append(digest(archive.read(name)))
        elif source == "tiny-imagenet" and name == "val/val_annotations.txt":
            table.append(f"-  {name}")  # a mirror may hold the lines of some classes only
        else:
            table.append(f"{digest(archive.read(name))}  {name}")
    return table + [f"{digest(''.join(inside).encode())}  {folder}" for folder, inside in folders.items()]


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for source in ("model-vs-human", "texture-vs-shape", "tiny-imagenet"):
        text = "".join(f"{line}\n" for line in sorted(lines(source), key=lambda line: line.split("  ", 1)[1]))
        (HERE / f"{source}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        print(source, text.count("\n"), (HERE / f"{source}.gz").stat().st_size)
