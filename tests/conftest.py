"""What all tests share: the mirror of public data, which may be absent; and that how long an example takes is no failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of public data, as GENCLS_MIRROR, with an empty cache; without one the test is skipped."""
    folder = Path(os.environ.get("GENCLS_MIRROR") or Path(__file__).parents[2] / "shared" / "mirror")
    if not folder.is_dir():
        pytest.skip(f"needs public data: no mirror at {folder} (set GENCLS_MIRROR)")
    monkeypatch.setenv("GENCLS_MIRROR", str(folder))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    return folder
