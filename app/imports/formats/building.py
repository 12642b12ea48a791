"""From a book to a MARC record and back without loss: what cataloguing can't say goes along in field 887."""

from __future__ import annotations  # so that naming a type of theirs doesn't load it

import hashlib
import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, Final

from pydantic import ValidationError

from app.books.schemas import BookCreate
from app.copies.schemas import CopyCreate
from app.core.loading import pymarc
from app.imports.formats.holdings import field_of
from app.imports.formats.mapping import Unmappable, book_of
from app.imports.formats.slicing import Record

# Source: MARC 21 field 887, "Non-MARC Information Field": $a content, $2 its source.
EXTRA_TAG: Final = "887"
EXTRA_SOURCE: Final = "library-service"
EXTRA_CHARACTERS: Final = 2_000
LEADER: Final = "00000nam a2200000 u 4500"


def book_in(record: Record) -> BookCreate:
    """The book that the record describes; exactly the one that `record_of` was given, if that wrote it.

    Raises:
        Unmappable.
    """
    extra = "".join(
        value
        for field in record.get_fields(EXTRA_TAG)
        if field.get("2") == EXTRA_SOURCE
        for value in field.get_subfields("a")
    )
    if extra:
        try:
            digest, fields = json.loads(extra)
            if digest == _fingerprint(record):
                return BookCreate.model_validate(fields)
        except (ValueError, TypeError, ValidationError):
            pass  # somebody else's, or edited since: the cataloguing counts
    return book_of(record)


def record_of(
    book: BookCreate, *, number: str, source: str, base: pymarc.Record | None, copies: Sequence[CopyCreate]
) -> pymarc.Record:
    """A record that describes the book and its copies; fields of `base` that say nothing else are kept as they are."""
    record = deepcopy(base) if base else _blank()
    record.remove_fields("952", "852")
    for field in [field for field in record.get_fields(EXTRA_TAG) if field.get("2") == EXTRA_SOURCE]:
        record.remove_field(field)
    _control(record, "001", number)
    _control(record, "003", source)
    described = _described(record)
    if described != book:
        _rewrite(record, book, described)
        if _described(record) != book:
            extra = json.dumps([_fingerprint(record), book.model_dump()], ensure_ascii=False, separators=(",", ":"))
            for start in range(0, len(extra), EXTRA_CHARACTERS):
                part = extra[start : start + EXTRA_CHARACTERS]
                record.add_field(_field(EXTRA_TAG, "  ", [("a", part), ("2", EXTRA_SOURCE)]))
    for copy in copies:
        record.add_field(field_of(copy))
    leader = str(record.leader)
    record.leader = pymarc.leader.Leader(f"{leader[:9]}a{leader[10:]}")
    return record


def _described(record: pymarc.Record) -> BookCreate | None:
    try:
        return book_of(record)
    except (Unmappable, ValueError):
        return None


def _fingerprint(record: Record) -> str:
    """Of every field but holdings and our own: whoever changes the record makes what goes along stale."""
    fields = [
        (
            field.tag,
            field.data if field.control_field else [field.indicator1 + field.indicator2, *map(tuple, field.subfields)],
        )
        for field in record.fields
        if field.tag not in {"852", "952", "001", "003", "005"} and field.get("2") != EXTRA_SOURCE
    ]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()[:32]


def _rewrite(record: pymarc.Record, book: BookCreate, described: BookCreate | None) -> None:
    """Replace the fields of every part that differs; notes and other fields stay."""
    for names, tags in _PARTS:
        if described is not None and all(getattr(book, name) == getattr(described, name) for name in names):
            continue
        record.remove_fields(*tags)
        for field in _BUILDERS[names[0]](book):
            record.add_ordered_field(field)
    linked = {str(field.get("6"))[:3] for field in record.get_fields("880")}
    if described is None or book.original_script != described.original_script or not linked:
        record.remove_fields("880")
        for item in book.original_script:
            tag, code = _LINKS[item.field]
            record.add_ordered_field(_field("880", "  ", [("6", f"{tag}-00"), (code, item.value)]))
    _control(record, "008", _fixed(record, book))


def _titles(book: BookCreate) -> Iterable[pymarc.Field]:
    skipped = 0
    if book.sort_title and book.title.endswith(book.sort_title):
        skipped = len(book.title) - len(book.sort_title)
    parts = [("a", f"{book.title} :" if book.subtitle else book.title)]
    parts += [("b", book.subtitle)] if book.subtitle else []
    yield _field("245", f"1{skipped if skipped <= _MAX_NONFILING else 0}", parts)
    yield from (_field("246", "3 ", [("a", title)]) for title in book.alternative_titles)


def _names(book: BookCreate) -> Iterable[pymarc.Field]:
    for place, contributor in enumerate(book.contributors):
        if place == 0 and contributor.role == "author":
            yield _field("100", "1 ", [("a", contributor.name)])
        else:
            role = [] if contributor.role == "contributor" else [("e", contributor.role)]
            yield _field("700", "1 ", [("a", contributor.name), *role])


def _imprint(book: BookCreate) -> Iterable[pymarc.Field]:
    parts = (("a", book.place), ("b", book.publisher), ("c", book.date))
    found = [(code, value) for code, value in parts if value]
    if found:
        yield _field("264", " 1", found)


def _languages(book: BookCreate) -> Iterable[pymarc.Field]:
    if len(book.languages) > 1:
        yield _field("041", "0 ", [("a", language) for language in book.languages])


def _numbers(book: BookCreate) -> Iterable[pymarc.Field]:
    for number in book.identifiers:
        yield _field(_NUMBER_TAGS[number.type], "  ", [("a", number.value)])


def _classes(book: BookCreate) -> Iterable[pymarc.Field]:
    for item in book.classifications:
        tag = _SCHEME_TAGS.get(item.scheme, "084")
        yield _field(tag, "  ", [("a", item.value), *([("2", item.scheme)] if tag == "084" else [])])


def _subjects(book: BookCreate) -> Iterable[pymarc.Field]:
    for subject in book.subjects:
        main, *divisions = subject.split(" -- ")
        yield _field("650", " 4", [("a", main), *(("x", division) for division in divisions)])


def _simple(tag: str, indicators: str, name: str) -> Any:
    def build(book: BookCreate) -> Iterable[pymarc.Field]:
        value = getattr(book, name)
        for text in value if isinstance(value, list) else [value] if value else []:
            yield _field(tag, indicators, [("a", text)])

    return build


def _fixed(record: pymarc.Record, book: BookCreate) -> str:
    present = record.get("008")
    data = (present.data or "").ljust(40, "|")[:40] if present is not None else f"      s    {'|' * 29}"
    year = f"{book.year:04}" if book.year and 0 < book.year <= _LAST_YEAR else "uuuu"
    language = book.languages[0] if book.languages else "und"
    return f"{data[:7]}{year}{data[11:35]}{language}{data[38:]}".ljust(40, "|")


def _blank() -> pymarc.Record:
    record = pymarc.Record(force_utf8=True)
    record.leader = pymarc.leader.Leader(LEADER)
    return record


def _control(record: pymarc.Record, tag: str, data: str) -> None:
    record.remove_fields(tag)
    record.add_ordered_field(pymarc.Field(tag=tag, data=data))


def _field(tag: str, indicators: str, subfields: Iterable[tuple[str, str]]) -> pymarc.Field:
    parts = [pymarc.Subfield(code, value) for code, value in subfields]
    return pymarc.Field(tag=tag, indicators=pymarc.Indicators(indicators[0], indicators[1]), subfields=parts)


_MAX_NONFILING: Final = 9
_LAST_YEAR: Final = 2200
_NUMBER_TAGS: Final = {"isbn": "020", "issn": "022", "lccn": "010", "oclc": "035"}
_SCHEME_TAGS: Final = {"lcc": "050", "ddc": "082", "nlm": "060", "udc": "080"}
_LINKS: Final = {
    "title": ("245", "a"), "contributor": ("700", "a"), "publisher": ("264", "b"), "place": ("264", "a"),
    "edition": ("250", "a"), "series": ("490", "a"), "subject": ("650", "a"), "summary": ("520", "a"),
}  # fmt: skip
_PARTS: Final = (
    (("title", "subtitle", "sort_title", "alternative_titles"), ("245", "246", "130", "240", "242", "247", "740")),
    (("contributors",), ("100", "110", "111", "700", "710", "711")),
    (("edition",), ("250",)),
    (("publisher", "place", "date", "year"), ("260", "264")),
    (("languages",), ("041",)),
    (("summary",), ("520",)),
    (("physical_description",), ("300",)),
    (("series",), ("440", "490", "800", "810", "811", "830")),
    (("identifiers",), ("010", "020", "022", "035")),
    (("classifications",), ("050", "060", "080", "082", "084")),
    (("subjects",), ("600", "610", "611", "630", "648", "650", "651", "653", "655")),
)
_BUILDERS: Final[dict[str, Any]] = {
    "title": _titles,
    "contributors": _names,
    "edition": _simple("250", "  ", "edition"),
    "publisher": _imprint,
    "languages": _languages,
    "summary": _simple("520", "  ", "summary"),
    "physical_description": _simple("300", "  ", "physical_description"),
    "series": _simple("490", "0 ", "series"),
    "identifiers": _numbers,
    "classifications": _classes,
    "subjects": _subjects,
}
