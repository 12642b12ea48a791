"""Records cut by their directory say what pymarc reads, byte by byte, or are left to pymarc."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymarc
import pytest

from app.imports.formats.framing import frames
from app.imports.formats.slicing import Record, record_in
from app.imports.opening import opened

SEED = 20_261_201
EVERY = 4
BYTES = (0x1B, 0x1D, 0x1E, 0x1F, *b" 09aA$", 0xC3, 0xA9, 0xFF)


def by_pymarc(data: bytes) -> Record:
    record: Record = pymarc.Record(data, hide_utf8_warnings=True)
    return record


def said(read: Callable[[bytes], Record], data: bytes) -> Any:
    """All that a reading gives of a record, or the error that it ends with."""
    try:
        record = read(data)
    except (pymarc.exceptions.PymarcException, ValueError, LookupError) as error:
        return type(error)
    fields = [
        (field.tag, field.data)
        if field.control_field
        else (field.tag, field.indicator1, field.indicator2, [tuple(part) for part in field.subfields])
        for field in record.fields
    ]
    return str(record.leader), fields


def changed(data: bytes, chance: random.Random) -> bytes:
    """The record with a few of its bytes changed, half of them in leader and directory."""
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        last = len(spoilt) if chance.random() < 0.5 else min(len(spoilt), 200)
        spoilt[chance.randrange(last)] = chance.choice(BYTES)
    return bytes(spoilt)


def test_every_record_of_the_sample_says_the_same_to_both_readings(shared: Path) -> None:
    chance = random.Random(SEED)
    differing: list[bytes] = []
    sliced = spoilt = 0
    with opened(shared / "data" / "loc_sample.mrc.xz") as source, warnings.catch_warnings(action="ignore"):
        for number, frame in enumerate(frames(source)):
            tried = [frame.data, changed(frame.data, chance)] if number % EVERY == 0 else [frame.data]
            differing += [data for data in tried if said(record_in, data) != said(by_pymarc, data)]
            sliced += not isinstance(record_in(frame.data), pymarc.Record)
            spoilt += len(tried) - 1
    assert differing == []
    assert sliced == number + 1, "all of them are plain"
    assert spoilt > 5_000


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"Emma", "_Record"),
        (b"E\x1b$1mma", "Record"),
        (b"E\x88mma", "Record"),
        (b"\xe2Emma", "Record"),
        (b"E\x1emma", "Record"),
    ],
)
def test_marc_8_is_cut_only_where_it_is_ascii(text: bytes, kind: str) -> None:
    body = b"00\x1fa" + text + b"\x1e"
    directory = b"245%04d00000" % len(body) + b"\x1e"
    length = 24 + len(directory) + len(body) + 1
    data = b"%05dnam  22%05d   4500" % (length, 24 + len(directory)) + directory + body + b"\x1d"
    assert type(record_in(data)).__name__ == kind
    assert said(record_in, data) == said(by_pymarc, data)
