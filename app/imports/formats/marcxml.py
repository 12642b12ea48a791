"""MARCXML: records read one by one from a stream of any length, and written."""

from __future__ import annotations  # so that naming a type of theirs doesn't load it

from collections.abc import Iterator
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from app.core.loading import pymarc
from app.imports.opening import Source, UnusableFile

NAMESPACE: Final = "http://www.loc.gov/MARC21/slim"
CHUNK_BYTES: Final = 1 << 16
MAX_RECORD_CHARACTERS: Final = 2_000_000
OPENING: Final = f'<?xml version="1.0" encoding="UTF-8"?>\n<collection xmlns="{NAMESPACE}">\n'
CLOSING: Final = "</collection>\n"


class XmlBroken(UnusableFile):
    code, detail = "xml_broken", "{name} is no well-formed XML: {reason} in line {line}."


class XmlForbidden(UnusableFile):
    code, detail = "xml_forbidden", "{name} declares a document type or entities, which MARCXML has no use for."


class RecordTooLong(UnusableFile):
    code, detail = "record_too_long", "{name} holds a record of more than {limit} characters."


def records(source: Source) -> Iterator[pymarc.Record]:
    """Every `record` element; memory holds one chunk's records.

    Raises:
        XmlBroken, XmlForbidden, RecordTooLong.
    """
    reader = _Reader(source.name)
    while chunk := source.read(CHUNK_BYTES):
        yield from reader.feed(chunk, is_last=False)
    yield from reader.feed(b"", is_last=True)


def records_in(data: bytes, name: str = "record") -> list[pymarc.Record]:
    """All records of a text that is there whole, whatever they are wrapped in.

    Raises:
        XmlBroken, XmlForbidden, RecordTooLong.
    """
    return _Reader(name).feed(data, is_last=True)


def record_of(data: bytes) -> pymarc.Record:
    """The one record of a text that `text_of` wrote."""
    [record] = records_in(data)
    return record


def text_of(record: pymarc.Record) -> str:
    """The record as a `record` element without a namespace of its own."""
    parts = ["<record>", f"<leader>{escape(str(record.leader))}</leader>"]
    for field in record.fields:
        if field.control_field:
            parts.append(f"<controlfield tag={quoteattr(field.tag)}>{_escaped(field.data or '')}</controlfield>")
            continue
        first, second = quoteattr(field.indicator1), quoteattr(field.indicator2)
        parts.append(f"<datafield tag={quoteattr(field.tag)} ind1={first} ind2={second}>")
        parts += [f"<subfield code={quoteattr(code)}>{_escaped(value)}</subfield>" for code, value in field.subfields]
        parts.append("</datafield>")
    return "".join([*parts, "</record>\n"])


def _escaped(text: str) -> str:
    # A carriage return would be read back as a line feed; the rest of the control characters XML can't hold.
    return escape(text.translate(_UNWRITABLE), {"\r": "&#13;"})


class _Reader:
    """Handlers of an expat parser that build pymarc's records."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready: list[pymarc.Record] = []
        self._record: pymarc.Record | None = None
        self._text: list[str] = []
        self._size = 0
        self._attributes: dict[str, str] = {}
        self._subfields: list[pymarc.Subfield] = []
        self._code = ""
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes, *, is_last: bool) -> list[pymarc.Record]:
        try:
            self._parser.Parse(data, is_last)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise XmlBroken(name=self._name, reason=reason, line=error.lineno) from None
        ready, self._ready = self._ready, []
        return ready

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        self._text = []
        if local == "record":
            self._record, self._size = pymarc.Record(), 0
        elif local in {"datafield", "controlfield"}:
            self._attributes, self._subfields = attributes, []
        elif local == "subfield":
            self._code = attributes.get("code", " ")[:1]

    def _end(self, name: str) -> None:
        record = self._record
        if record is None:
            return
        local, text = name.rpartition(" ")[2], "".join(self._text)
        if local == "leader":
            record.leader = pymarc.leader.Leader(text.ljust(24)[:24])
        elif local == "subfield":
            self._subfields.append(pymarc.Subfield(self._code, text))
        elif local == "controlfield":
            record.add_field(pymarc.Field(tag=self._attributes.get("tag", "000"), data=text))
        elif local == "datafield":
            first, second = ((self._attributes.get(name) or " ")[:1] for name in ("ind1", "ind2"))
            tag = self._attributes.get("tag", "000")
            record.add_field(
                pymarc.Field(tag=tag, indicators=pymarc.Indicators(first, second), subfields=self._subfields)
            )
        elif local == "record":
            self._ready.append(record)
            self._record = None
        self._text = []

    def _characters(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_RECORD_CHARACTERS:
            raise RecordTooLong(name=self._name, limit=f"{MAX_RECORD_CHARACTERS:,}")
        self._text.append(text)

    def _doctype(self, *_: object) -> None:
        raise XmlForbidden(name=self._name)


_UNWRITABLE: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF), " ")
