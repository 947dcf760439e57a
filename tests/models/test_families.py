"""The list of families and the adapters are the same list."""

from __future__ import annotations

import runpy
from pathlib import Path

from gencls.models import adapters, autoregressive, hub, zoo
from gencls.models.families import FAMILIES


def test_everything_that_an_adapter_opens_is_listed_once_and_nothing_else() -> None:
    listed = [name for family in FAMILIES for name in family.classes]
    assert len(listed) == len(set(listed))
    assert set(listed) == {*adapters.ADAPTERS, *autoregressive.ADAPTERS, *zoo.CONTRASTIVE}


def test_an_example_is_an_id_that_is_understood() -> None:
    for family in FAMILIES:
        if family.example.startswith("hf:"):
            hub.parse(family.example)
        else:
            assert zoo.is_here(family.example)


def test_parameters_that_are_called_counted_are_those_of_the_network() -> None:
    """Built from its configuration on the meta device, as the benchmark does it."""
    benchmark = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "flops.py"))
    counted = [family for family in FAMILIES if "(counted)" in family.needs]
    assert len(counted) == 2
    for family in counted:
        millions = benchmark["count"](family.example.removeprefix("hf:"))["parameters, counted (M)"]
        assert family.needs.startswith(f"{millions / 1000:.2f} B")
