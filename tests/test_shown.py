"""What `gencls run --resolution` and `--no-crop` change: the scores, and the name on their record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import gencls
from gencls import worlds
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive
from gencls.models import tiny

PLAN = Exhaustive(1)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny Stable Diffusion of 32 pixels, and an empty cache."""
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENCLS_RESOLUTION", raising=False)
    monkeypatch.delenv("GENCLS_CROP", raising=False)
    tiny.build("sd").save_pretrained(tmp_path / "tiny-sd")
    return str(tmp_path / "tiny-sd")


def test_scores_at_another_resolution_are_never_taken_for_the_model_s_own(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = gencls.world("shapes")
    photos = world.stimuli("photos", 2)

    def scored(**environment: str) -> tuple[str, str, str, np.ndarray]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            found = world.scores(photos, model, plan=PLAN)
        attrs = found.scores.attrs
        return found.origin, attrs["model"], attrs["preprocessing"], found.scores["error"].values

    own = scored()
    larger = scored(GENCLS_RESOLUTION="48")
    whole = scored(GENCLS_RESOLUTION="48", GENCLS_CROP="0")
    assert [one[0] for one in (own, larger, whole)] == ["computed"] * 3
    assert [one[1] for one in (own, larger, whole)] == [
        model,
        f"{model} (48 pixels)",
        f"{model} (48 pixels, whole image)",
    ]
    assert "bicubic to 32" in own[2] and "bicubic to 48" in larger[2] and "whole image" in whole[2]
    assert not np.isclose(own[3], larger[3], rtol=0.1).any()  # more pixels, larger errors
    np.testing.assert_allclose(whole[3], larger[3], rtol=1e-5)  # squares have nothing to crop
    # Each is found again under its own settings; the model's own, by its number too.
    for before, settings in (
        (own, {}),
        (own, {"GENCLS_RESOLUTION": "32"}),
        (larger, {"GENCLS_RESOLUTION": "48"}),
        (whole, {"GENCLS_RESOLUTION": "48", "GENCLS_CROP": "0"}),
    ):
        origin, title, _, values = scored(**settings)
        assert (origin, title) == ("cached", before[1])
        np.testing.assert_array_equal(values, before[3])
    assert len(list((tmp_path / "cache").rglob("*.zarr.zip"))) == 3


def test_a_model_that_cannot_be_shown_it_says_so(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = gencls.world("shapes")
    for resolution, said in (("40", "only its own 32 or multiples of 16"), ("many", "GENCLS_RESOLUTION is 'many'")):
        monkeypatch.setenv("GENCLS_RESOLUTION", resolution)
        with pytest.raises(GenclsError, match=said):
            world.scores(world.stimuli("photos", 2), model, plan=PLAN)


CHAPTER = """\
---
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# One model

```{code-cell}
:tags: [parameters]
world = "shapes"  # the world it is run on
model = ""  # the model's id
```

```{code-cell}
import os

import gencls
from gencls.book import Page
from gencls.likelihood.plans import Exhaustive

page = Page("one", world=world)
here = gencls.world(world)
scored = here.scores(here.stimuli("photos", 2), model, plan=Exhaustive(1))
page.report("error", float(scored.scores["error"].mean()), observer=model, origin=scored.origin)
print("compile:", os.environ["GENCLS_COMPILE"])
page.close()
```
"""


@pytest.mark.parametrize(("said", "finds_out"), [(None, False), ("0", False), ("auto", True)])
def test_only_where_a_run_asks_for_it_a_model_finds_out_whether_to_compile(
    said: str | None, finds_out: bool, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gencls book` does not: its chapters are scored as they were."""
    if said is None:
        monkeypatch.delenv("GENCLS_COMPILE", raising=False)
    else:
        monkeypatch.setenv("GENCLS_COMPILE", said)
    opened = worlds.base._opened(model, "float32")
    assert (opened.compiling is not None) == finds_out and not opened.compiled


def test_the_command_hands_its_options_on_to_the_chapter(model: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "book").mkdir(parents=True)
    (root / "book" / "one.md").write_text(CHAPTER)
    for name in ("_toc.yml", "_config.yml"):
        (root / name).write_text("{}\n")
    command = [sys.executable, "-m", "gencls.cli", "run", "one", "-p", f"model={model}", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "GENCLS_BOOK": str(root)}
    environment.pop("GENCLS_COMPILE", None)
    done = subprocess.run(
        [*command, "--resolution", "48", "--no-crop"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "cache").rglob("*.zarr.zip")
    assert records.read(record).attrs["model"] == f"{model} (48 pixels, whole image)"
    shown = str(nbformat.read(tmp_path / "out" / "one.ipynb", 4))
    assert "compile: auto\\n" in shown
    assert "<dt>Images shown as</dt><dd>48 pixels, whole image</dd>" in shown
