"""Whether torch.compile pays, found out on the work itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch

T = TypeVar("T")
#: Seconds of work that must lie ahead before compiling is tried: it takes a minute or more itself, and saves a share of what is left.
LONG = 1200.0
#: Passes that are timed of each kind, of which the fastest counts: the first ones may warm something up.
PASSES = 3


class Compiling:
    """A model's choice between running as it is and compiled, made while it works; short runs never come to it.

    Parameters
    ----------
    name : the model's
    compile : compiles it in place; whether that worked
    clock : seconds, rising

    Attributes
    ----------
    on : whether it runs compiled now
    """

    def __init__(self, name: str, compile: Callable[[], bool], clock: Callable[[], float] = time.perf_counter) -> None:
        self._name, self._compile, self._clock = name, compile, clock
        self.on = self._decided = self._dropped = False
        self._rows = 0
        self._plain: list[float] = []  # seconds of each pass as it is
        self._fast: list[float] = []  # … and compiled: the first one waits for the compiler

    def run(self, work: Callable[[], T], rows: int, left: int) -> T:
        """What `work`, a pass of so many evaluations, gives; `left` of them are to come in the whole run, these among them.

        Passes of one size are timed, `PASSES` at least as they are. Where `LONG` lies ahead, the model is compiled, and after as many further
        passes the faster of the two goes on, which one line says. Nothing is computed for the comparison alone.
        """
        if rows > self._rows and not self._fast:
            self._rows, self._plain = rows, []
        if not self._decided:
            self._decide(left)
        start = self._clock()
        with torch.compiler.set_stance("force_eager") if self._dropped else nullcontext():
            found = work()
        if rows == self._rows and not self._decided:
            (self._fast if self.on else self._plain).append(self._clock() - start)
        return found

    def _decide(self, left: int) -> None:
        if not self.on:
            if len(self._plain) >= PASSES and left > 2 * PASSES * self._rows and left * self._each(self._plain) > LONG:
                self.on = self._compile()
                self._decided = not self.on
        elif len(self._fast) > PASSES:
            self._decided, plain, fast = True, self._each(self._plain), self._each(self._fast[1:])
            self._dropped = fast >= plain
            self.on = not self._dropped
            how = "goes on as it is: compiled it" if self._dropped else "goes on compiled by torch.compile: it"
            logging.getLogger("gencls").warning(
                f"gencls: {self._name} {how} takes {fast:.2g} s an evaluation instead of {plain:.2g} "
                f"(the compiler took {max(0.0, self._fast[0] - fast * self._rows):.0f} s; --no-compile leaves it out)"
            )

    def _each(self, seconds: list[float]) -> float:
        """Seconds of one evaluation in the fastest of these passes."""
        return min(seconds) / self._rows
