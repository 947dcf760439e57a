"""Draw README's figure from the records: `python scripts/readme_figure.py`, after `scripts/natural_people.py`.

It is the figure of the page *The same photographs*, section *Beside people*. The PNG's text `records` is the digest of the table that it was
drawn from, by which a test tells that it is not an older one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import matplotlib.pyplot as plt

import gencls
from gencls import figures
from gencls.analyses import beside, bias, photographs

FIGURE = Path(__file__).resolve().parents[1] / "book" / "_static" / "readme_figure.png"


def digest() -> str:
    """Of what the figure is drawn from."""
    return hashlib.sha256(photographs.PEOPLE.read_bytes()).hexdigest()[:16]


if __name__ == "__main__":
    world = gencls.world("natural")
    seen = bias.look(world, "cue-conflict", list(world.models))
    table, origin = photographs.people(world, seen.models)
    rows = beside.rows(seen, bias.biases(seen), table, origin)
    figures.forest(None, rows, xlabel="shape bias", style=beside.looks(rows["observer"]), key=False)
    plt.savefig(FIGURE, dpi=130, facecolor="white", metadata={"records": digest()})
    print(FIGURE, len(rows))
