"""The text of /metrics: what all processes counted, added up in a few milliseconds however many routes there are.

prometheus_client's own collector and writer take every name and label apart at every scrape: 40 ms of processor time
with four workers. Here names, order and the text around the figures are worked out when a new name appears; a scrape
reads the figures and puts them in.
"""

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from operator import attrgetter
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.utils import floatToGoString

FILE: Final = re.compile(r"(counter|histogram|gauge_livesum|gauge_livemax)_\d+\.db")
IN_USE: Final = Struct("i")  # a file begins with how much of it is in use
GREATEST: Final = "gauge_livemax"  # of all processes, where other figures are added up


class Source(Protocol):
    """Figures of one kind (what the names of their files begin with) and one process; `keys` says what each is."""

    kind: str
    keys: list[str]

    def values(self) -> Sequence[float]: ...


class _File:
    """Figures that a process shares by a file."""

    def __init__(self, path: Path, kind: str) -> None:
        self.kind = kind
        self.keys: list[str] = []
        self._path = path
        self._in_use = 0
        self._figures = Struct("")
        self._map = self._mapped()

    def values(self) -> Sequence[float]:
        if IN_USE.unpack_from(self._map)[0] > self._in_use:
            self._read_names()
        return self._figures.unpack_from(self._map)

    def _read_names(self) -> None:
        """One pattern for all figures: reading them is a single call then."""
        self.keys, pattern, end = [], ["="], 0
        entries = MmapedDict.read_all_values_from_file(self._path)  # type: ignore[no-untyped-call]  # theirs has no types
        for key, _value, _at, position in entries:
            self.keys.append(key)
            pattern.append(f"{position - end}xd")
            end = position + 8
        self._figures, self._in_use = Struct("".join(pattern)), end + 8
        if self._in_use > len(self._map):
            self._map = self._mapped()

    def _mapped(self) -> mmap.mmap:
        with self._path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Files:
    """The figures of all processes that share the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._known: dict[tuple[str, int], _File] = {}

    def __iter__(self) -> Iterator[Source]:
        """A worker's files come when it starts; those of its gauges go when it has ended."""
        found = {}
        for path in sorted(self._folder.iterdir()):
            try:
                # A process with the number of a former one has files of its own under the same names.
                name = path.name, path.stat().st_ino
                if match := FILE.fullmatch(path.name):
                    found[name] = self._known.get(name) or _File(path, match[1])
            except (FileNotFoundError, ValueError):  # gone meanwhile; or just made, and still empty
                continue
        self._known = found
        return iter(found.values())


class InMemory(values.MutexValue):
    """A figure of a process that answers alone."""

    def __init__(self, typ: str, metric: str, name: str, labels: Any, given: Any, text: str, **more: Any) -> None:
        super().__init__(typ, metric, name, labels, given, text, **more)  # type: ignore[no-untyped-call]  # theirs has no types
        kind = "_".join(filter(None, (typ, more.get("multiprocess_mode"))))
        MEMORY[kind].keys.append(mmap_key(metric, name, labels, given, text))
        MEMORY[kind].figures.append(self)


class _Memory:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.keys: list[str] = []
        self.figures: list[InMemory] = []

    def values(self) -> Sequence[float]:
        return [figure.get() for figure in self.figures]  # type: ignore[no-untyped-call]  # theirs has no types


MEMORY: Final = {kind: _Memory(kind) for kind in ("counter", "histogram", "gauge_livesum", "gauge_livemax")}


class Exposition:
    """Writes the text; cheap as long as no new name comes."""

    def __init__(self, sources: "Files | Sequence[Source]") -> None:
        self._sources = sources
        self._shape: list[tuple[Source, int]] = []
        self._sheet = _Sheet([])

    def text(self) -> bytes:
        read = [(source, source.values()) for source in self._sources]
        shape = [(source, len(figures)) for source, figures in read]
        if shape != self._shape:
            self._shape, self._sheet = shape, _Sheet([source for source, _ in read])
        return self._sheet.filled([figures for _, figures in read])


class _Sample(NamedTuple):
    """A figure by its place in the text; of a histogram come the buckets by their bounds, then the sum."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    order: tuple[bool, float]
    name: str
    key: str
    type: str
    help: str

    @classmethod
    def of(cls, kind: str, key: str) -> "_Sample":
        metric, name, labels, text = json.loads(key)
        bound = labels.pop("le", None)
        order = (bound is None, float(bound or 0))
        return cls(metric, tuple(labels.items()), order, name, key, kind.partition("_")[0], text)


class _Sheet:
    """The text with places for the figures, and which figure of which source belongs where."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._lines: list[str] = []
        self._buckets: list[slice] = []
        self._size = 0
        places: dict[str, int] = {}
        samples = sorted({_Sample.of(source.kind, key) for source in sources for key in source.keys})
        for _, family in groupby(samples, attrgetter("metric")):
            members = list(family)
            self._head(members[0])
            for _, child in groupby(members, attrgetter("labels")):
                self._child(list(child), places)
        self._text = "".join(self._lines)
        self._places = [([places[key] for key in source.keys], source.kind == GREATEST) for source in sources]

    def filled(self, read: Sequence[Sequence[float]]) -> bytes:
        figures = [0.0] * self._size
        for (places, is_greatest), given in zip(self._places, read, strict=True):
            if is_greatest:
                for place, figure in zip(places, given, strict=True):
                    figures[place] = max(figures[place], figure)
            else:
                for place, figure in zip(places, given, strict=True):
                    figures[place] += figure
        for buckets in self._buckets:
            figures[buckets] = accumulate(figures[buckets])
            figures[buckets.stop] = figures[buckets.stop - 1]
        return (self._text % tuple(figures)).encode()

    def _head(self, sample: _Sample) -> None:
        name = sample.name if sample.type == "counter" else sample.metric
        text = sample.help.replace("\\", r"\\").replace("\n", r"\n").replace("%", "%%")
        self._lines.append(f"# HELP {name} {text}\n# TYPE {name} {sample.type}\n")

    def _child(self, samples: list[_Sample], places: dict[str, int]) -> None:
        begin = self._size
        for sample in samples:
            is_bucket = not sample.order[0]
            if begin < self._size and not is_bucket:
                self._count(sample, slice(begin, self._size))
            places[sample.key] = self._size
            bound = [("le", floatToGoString(sample.order[1]))] if is_bucket else []  # type: ignore[no-untyped-call]  # theirs has no types
            self._line(sample.name, [*sample.labels, *bound])

    def _count(self, total: _Sample, buckets: slice) -> None:
        """Each bucket is told with those below it; no process writes down how many there are in all."""
        self._buckets.append(buckets)
        self._line(f"{total.metric}_count", total.labels)

    def _line(self, name: str, labels: Sequence[tuple[str, str]]) -> None:
        given = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
        self._lines.append(f"{name}{{{given}}} %r\n" if given else f"{name} %r\n")
        self._size += 1


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")
