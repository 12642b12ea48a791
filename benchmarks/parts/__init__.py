"""The parts of a run: which goals each measures, in the order in which they run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks.judging import Figure
from benchmarks.parts import (
    crawling,
    desks,
    editing,
    history,
    importing,
    lending,
    rushing,
    searching,
    serving,
    signing_in,
    starting,
)
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    goals: tuple[str, ...]
    measure: Callable[[Stage], Iterable[Figure]]


PARTS: Final = (
    Part("serving", ("P1", "P2", "P3", "P4", "P5", "P8", "P13", "P14", "P15"), serving.measure),
    Part("starting", ("P13",), starting.measure),
    Part("signing in", ("P12",), signing_in.measure),
    Part("editing", ("P10", "P17"), editing.measure),
    Part("importing", ("P11",), importing.measure),
    Part("searching", ("P9",), searching.measure),
    Part("crawling", ("R9",), crawling.measure),
    Part("lending", ("P6", "P7", "P8"), lending.measure),
    Part("rushing", ("P7",), rushing.measure),
    Part("desks", ("P16",), desks.measure),
    Part("history", ("P10",), history.measure),
)
