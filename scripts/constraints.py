"""Write constraints.txt: the installed version of everything that pyproject.toml needs, directly or not.

Run it in the environment whose tests passed: `.venv/bin/python scripts/constraints.py`.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def pins(wanted: list[Requirement]) -> dict[str, str]:
    """Name → version of the requirements and of all that they require on this machine."""
    found: dict[str, str] = {}
    done = set()
    while wanted:
        requirement = wanted.pop()
        seen = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if seen in done:
            continue
        done.add(seen)
        package = distribution(requirement.name)
        found[package.metadata["Name"]] = package.version.partition("+")[0]  # torch's +cpu is a build, not a version
        extras = ["", *requirement.extras]
        for needed in map(Requirement, package.requires or ()):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(needed)
    return {name: version for name, version in found.items() if name not in ("gencls", "pip", "setuptools")}


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [item for name, items in project["optional-dependencies"].items() if name != "all" for item in items]
    found = pins([Requirement(item) for item in (*project["dependencies"], *extras)])
    lines = [f"{name}=={found[name]}" for name in sorted(found, key=canonicalize_name)]
    (ROOT / "constraints.txt").write_text("\n".join(["# Made by scripts/constraints.py.", *lines, ""]))


if __name__ == "__main__":
    main()
