"""Worlds: what analysis alone imports, and what a world refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gencls
from gencls.errors import GenclsError


@pytest.mark.parametrize(
    "module", ["trials", "metrics", "figures", "likelihood.records", "likelihood.weightings", "worlds"]
)
def test_analysis_needs_no_torch(module: str) -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Blocked(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"import gencls.{module}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_world_or_set_is_named() -> None:
    with pytest.raises(GenclsError, match="letters"):
        gencls.world("letters")
    with pytest.raises(GenclsError, match="sketches"):
        gencls.world("shapes").stimuli("sketches")
