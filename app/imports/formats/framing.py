"""Framing: where each record of an ISO 2709 file begins and ends, whatever stands between them.

A record carries its own length; where that can't be believed, the next record terminator is looked for, so that one
bad record never costs its neighbours. Memory holds one chunk and one record, whatever the file's size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

RECORD_TERMINATOR: Final = b"\x1d"
# Source: ISO 2709: five decimal digits of record length.
MAX_RECORD_BYTES: Final = 99_999
LEADER_BYTES: Final = 24
CHUNK_BYTES: Final = 1 << 18
CUT_OFF: Final = "the file ends in the middle of this record"
_LEADER: Final = re.compile(rb"(?=([0-9]{5}[\x20-\x7e]{7}[0-9]{5}[\x20-\x7e]{7}))")
_BLANK: Final = b"\r\n\t \x00\x1a"


class Readable(Protocol):
    """What frames are read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one record from `offset`; `problem` says why they are none."""

    offset: int
    data: bytes
    problem: str | None = None


def frames(stream: Readable) -> Iterator[Frame]:
    """Every record of the stream in order, and every stretch of bytes that is none."""
    return _Framer(stream).frames()


class _Framer:
    """Buffered reading: `_buffer[_start:]` is what has been read and not yet given out; it begins at `_offset`."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = b""
        self._start = 0
        self._offset = 0

    def frames(self) -> Iterator[Frame]:
        while self._skip_blanks():
            yield self._next()

    def _next(self) -> Frame:
        offset = self._offset
        self._fill(LEADER_BYTES)
        leader = self._buffer[self._start : self._start + LEADER_BYTES]
        if _LEADER.match(leader):
            length = int(leader[:5])
            self._fill(length)
            record = self._buffer[self._start : self._start + length]
            if len(record) == length and record.endswith(RECORD_TERMINATOR):
                self._take(length)
                return Frame(offset, record)
        return self._until_terminator(offset)

    def _until_terminator(self, offset: int) -> Frame:
        """The bytes that are no record: up to the next one that is, or the next terminator."""
        self._fill(MAX_RECORD_BYTES)
        end = self._buffer.find(RECORD_TERMINATOR, self._start, self._start + MAX_RECORD_BYTES)
        if end >= 0:
            stretch = self._buffer[self._start : end + 1]
            data = self._take(_start_of_last_record(stretch))
            stated = (
                f"its leader says {int(data[:5])} bytes, its end is elsewhere" if data[:5].isdigit() else "no leader"
            )
            return Frame(offset, data, f"not a MARC record: {stated}")
        head = self._buffer[self._start : self._start + MAX_RECORD_BYTES]
        if len(head) < MAX_RECORD_BYTES:
            self._take(len(head))
            return Frame(offset, head, CUT_OFF)
        skipped = self._discard_through_terminator()
        return Frame(offset, head, f"longer than a MARC record can be: {skipped} bytes, at most {MAX_RECORD_BYTES}")

    def _discard_through_terminator(self) -> int:
        skipped = 0
        while True:
            end = self._buffer.find(RECORD_TERMINATOR, self._start)
            if end >= 0:
                return skipped + len(self._take(end + 1 - self._start))
            skipped += len(self._take(len(self._buffer) - self._start))
            if not self._fill(1):
                return skipped

    def _skip_blanks(self) -> bool:
        """Pass line ends and padding between records; False at the end of the file."""
        while self._fill(1):
            position = self._start
            while position < len(self._buffer) and self._buffer[position] in _BLANK:
                position += 1
            self._take(position - self._start)
            if self._start < len(self._buffer):
                return True
        return False

    def _fill(self, wanted: int) -> bool:
        """Have `wanted` bytes ready, or all that are left; False if there are none."""
        if len(self._buffer) - self._start < wanted:
            parts = [self._buffer[self._start :]]
            ready = len(parts[0])
            while ready < wanted:
                chunk = self._stream.read(CHUNK_BYTES)
                if not chunk:
                    break
                parts.append(chunk)
                ready += len(chunk)
            self._buffer, self._start = b"".join(parts), 0
        return self._start < len(self._buffer)

    def _take(self, count: int) -> bytes:
        data = self._buffer[self._start : self._start + count]
        self._start += len(data)
        self._offset += len(data)
        return data


def _start_of_last_record(stretch: bytes) -> int:
    """Where a whole record begins that ends with the stretch; the stretch's length if none does."""
    for found in _LEADER.finditer(stretch, 1):
        if int(found.group(1)[:5]) == len(stretch) - found.start():
            return found.start()
    return len(stretch)
