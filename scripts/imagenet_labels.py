"""Make gencls/data/imagenet_labels.csv from the tables in a wheel of timm: `pip download timm --no-deps`, then

python scripts/imagenet_labels.py timm-1.0.31-py3-none-any.whl
"""

from __future__ import annotations

import csv
import sys
import zipfile
from pathlib import Path


def main(wheel: str) -> None:
    """Write the table; the order is ImageNet-1k's."""
    with zipfile.ZipFile(wheel) as archive:
        text = {
            name: archive.read(f"timm/data/_info/{name}.txt").decode().splitlines()
            for name in (
                "imagenet_synsets",
                "imagenet22k_synsets",
                "imagenet21k_goog_synsets",
                "imagenet_synset_to_lemma",
            )
        }
    names = dict(csv.reader(text["imagenet_synset_to_lemma"], delimiter="\t"))
    places = [
        {w: i for i, w in enumerate(text[order])} for order in ("imagenet22k_synsets", "imagenet21k_goog_synsets")
    ]
    path = Path(__file__).parents[1] / "gencls" / "data" / "imagenet_labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["wnid", *(f"place_{len(order)}" for order in places), "names"])
        writer.writerows([w, *(order.get(w, "") for order in places), names[w]] for w in text["imagenet_synsets"])


if __name__ == "__main__":
    main(sys.argv[1])
