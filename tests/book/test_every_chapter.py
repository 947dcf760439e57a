"""Every page of the contents, run by papermill with its world and the profile `smoke`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gencls.book import book_pages, run_chapter
from gencls.results import read_results

REPOSITORY = Path(__file__).parents[2]
PAGES = book_pages(REPOSITORY)
#: Pages that need the public data: people's trials and the real stimuli.
NEED_DATA = {("full", "shape_bias"), ("full", "ood"), ("full", "error_consistency")}
#: Pages that say nothing where nobody has put a pretrained model.
NO_NUMBERS = {("full", "illusions")}


@pytest.mark.parametrize(("world", "chapter"), PAGES, ids=["-".join(page) for page in PAGES])
def test_it_runs_and_leaves_its_numbers(
    world: str, chapter: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if (world, chapter) in NEED_DATA:
        request.getfixturevalue("public_data")
    out = run_chapter(chapter, {"world": world}, tmp_path, "smoke", root=REPOSITORY, progress=False)
    notebook = json.loads(out.read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("What was run" in str(output.get("data", {}).get("text/html", "")) for output in outputs)
    numbers = read_results(tmp_path)
    assert numbers or (world, chapter) in NO_NUMBERS
    for number in numbers:
        low, high = number.low, number.high
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            assert low - 1e-9 <= number.value <= high + 1e-9, number
    if world == "shapes" and chapter != "introduction":
        assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
