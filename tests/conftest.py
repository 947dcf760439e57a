"""What all tests share: the mirror of public data, which may be absent; and that how long an example takes is no failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def public_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of public data, as GENCLS_MIRROR; without one the test is skipped."""
    folder = Path(os.environ.get("GENCLS_MIRROR") or Path(__file__).parents[2] / "shared" / "mirror")
    if not folder.is_dir():
        pytest.skip(f"needs public data: no mirror at {folder} (set GENCLS_MIRROR)")
    monkeypatch.setenv("GENCLS_MIRROR", str(folder))
    return folder


@pytest.fixture
def mirror(public_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`public_data` with an empty cache."""
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    return public_data
