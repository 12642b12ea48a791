"""From a MARC bibliographic record to a book: which field becomes what.

Source: MARC 21 Format for Bibliographic Data, Library of Congress; ISBD for the punctuation that is taken off.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from app.books.schemas import BookCreate
from app.imports.formats.names import contributor, heading
from app.imports.formats.punctuation import clean, joined, plain
from app.imports.formats.slicing import Field, Record

MAX_LINE: Final = 2_000
MAX_PROSE: Final = 20_000


class Unmappable(ValueError):
    """The record is readable but describes no book; the message says why."""


def book_of(record: Record) -> BookCreate:
    """The book that the record describes.

    Raises:
        Unmappable: another kind of record, or no title.
    """
    kind = str(record.leader)[6:7]
    if kind not in _BIBLIOGRAPHIC:
        raise Unmappable(f"leader/06 is '{kind}': {_OTHER_KINDS.get(kind, 'not a kind of bibliographic record')}")
    fields: dict[str, list[Field]] = {}
    for field in record.fields:
        fields.setdefault(field.tag, []).append(field)
    title = _first(fields, "245")
    if title is None:
        raise Unmappable("there is no title (field 245)")
    imprint = _imprint(fields)
    fixed = _fixed(fields)
    raw_date = _text(imprint, "c") if imprint else None
    return BookCreate.model_validate(
        {
            **_titles(title, fields),
            "original_script": list(_original_script(fields)),
            "contributors": _distinct(map(contributor, _all(fields, *_CONTRIBUTORS))),
            "edition": _first_text(fields, "250", "ab"),
            "publisher": _unless_unknown(_text(imprint, "b")) if imprint else None,
            "place": _unless_unknown(_text(imprint, "a")) if imprint else None,
            "year": _year(fixed, raw_date),
            "date": raw_date[:200] if raw_date else None,
            "languages": _languages(fields, fixed),
            "summary": _summary(fields),
            "physical_description": _first_text(fields, "300", "abce", all_of=True),
            "series": _series(fields),
            "identifiers": _identifiers(fields),
            "classifications": _classifications(fields),
            "subjects": _distinct(map(subject, _all(fields, *_SUBJECTS))),
        }
    )


def subject(field: Field) -> str:
    """A subject heading with its subdivisions: `Iran -- Foreign relations`."""
    if field.tag in _NAME_SUBJECTS:
        main = heading(field, with_title=True)
    else:
        main = joined(field.get_subfields("a", "b", "c", "d"))
    divisions = [plain(text) for text in field.get_subfields("v", "x", "y", "z")]
    return " -- ".join(part for part in (main, *divisions) if part)[:MAX_LINE]


def _titles(title: Field, fields: dict[str, list[Field]]) -> dict[str, Any]:
    proper: list[str] = []
    parallel: list[str] = []
    subtitle: list[str] = []
    before = ""
    for code, value in title.subfields:
        if code in "anp":
            proper.append(value)
        elif code == "b":
            # `=` before $b announces the same title in another language, not a subtitle.
            (parallel if before.rstrip().endswith("=") else subtitle).append(value)
        before = value
    name = joined(proper).removeprefix("... ")[:MAX_LINE]
    if not name:
        name, subtitle = joined(subtitle)[:MAX_LINE], []
    if not name:
        raise Unmappable("the title (field 245) is empty")
    others = [joined(parallel).split(" : ")[0], *(_other_title(field) for field in _all(fields, *_OTHER_TITLES))]
    return {
        "title": name,
        "subtitle": joined(subtitle)[:MAX_LINE] or None,
        "sort_title": _sort_title(title, name),
        "alternative_titles": [text for text in _distinct(others) if text != name][:100],
    }


def _sort_title(title: Field, name: str) -> str | None:
    """The title without its article; the second indicator counts the characters to pass over."""
    if not title.indicator2.isdecimal() or title.indicator2 == "0":
        return None
    raw = clean(" ".join(title.get_subfields("a")))
    skipped = len(clean(raw[: int(title.indicator2)]))
    rest = name[skipped:].lstrip(" '\"’-")
    return rest if rest and rest != name else None


def _other_title(field: Field) -> str:
    codes = "anp" if field.tag in {"130", "240", "730", "740"} else "abnp"
    text = joined(field.get_subfields(*codes))
    is_collective = field.tag == "240" and text.casefold() in _COLLECTIVE_TITLES
    return "" if is_collective else text[:MAX_LINE]


def _original_script(fields: dict[str, list[Field]]) -> Iterator[dict[str, str]]:
    """What 880 fields say in the book's own script, by the field that they stand beside ($6)."""
    seen = set()
    for field in fields.get("880", ()):
        tag = (field.get("6") or "")[:3]
        for name, codes in _LINKED.get(tag, ()):
            value = joined(field.get_subfields(*codes))[:MAX_LINE]
            if value and (name, value) not in seen:
                seen.add((name, value))
                yield {"field": name, "value": value}


def _imprint(fields: dict[str, list[Field]]) -> Field | None:
    publications = [field for field in fields.get("264", ()) if field.indicator2 == "1"]
    return next(iter(publications + fields.get("260", []) + fields.get("264", [])), None)


def _unless_unknown(text: str | None) -> str | None:
    """`[S.l.]` and `[s.n.]` say that the place or publisher is unknown."""
    return None if text and _UNKNOWN.fullmatch(text) else text


def _year(fixed: str, raw_date: str | None) -> int | None:
    coded = fixed[7:11]
    if coded.isdecimal() and coded.isascii() and 0 < int(coded) <= _LAST_YEAR:
        return int(coded)
    written = _FOUR_DIGITS.search(raw_date or "")
    return int(written.group()) if written else None


def _languages(fields: dict[str, list[Field]], fixed: str) -> list[str]:
    codes = [fixed[35:38]]
    for field in fields.get("041", ()):
        if field.indicator2 == "7":  # codes of another list than MARC's
            continue
        for value in field.get_subfields("a"):
            # Older records run the codes together: `engfreger`.
            text = value.strip().lower()
            codes += [text[start : start + 3] for start in range(0, len(text), 3)]
    known = (_RENAMED_LANGUAGES.get(code, code) for code in codes)
    return [code for code in _distinct(known) if _LANGUAGE.fullmatch(code) and code not in _NO_LANGUAGE][:20]


def _summary(fields: dict[str, list[Field]]) -> str | None:
    notes = (clean(" ".join(field.get_subfields("a", "b"))) for field in fields.get("520", ()))
    return "\n\n".join(note for note in notes if note)[:MAX_PROSE] or None


def _series(fields: dict[str, list[Field]]) -> list[str]:
    """Series as transcribed (490, 440), and traced ones (8XX) where nothing is transcribed."""
    transcribed = [joined(field.get_subfields("a", "n", "p", "v"))[:MAX_LINE] for field in _all(fields, "440", "490")]
    traced = (joined(field.get_subfields(*"abcdnptv"))[:MAX_LINE] for field in _all(fields, "800", "810", "811", "830"))
    return _distinct(transcribed if any(transcribed) else traced)[:50]


def _identifiers(fields: dict[str, list[Field]]) -> list[dict[str, str]]:
    found = [("isbn", clean(value).rstrip(" :;,")) for field in fields.get("020", ()) for value in _a(field)]
    found += [("issn", plain(value)) for field in fields.get("022", ()) for value in _a(field)]
    found += [("lccn", clean(value)) for field in fields.get("010", ()) for value in _a(field)]
    found += [
        ("oclc", clean(value)) for field in fields.get("035", ()) for value in _a(field) if value.startswith("(OCoLC)")
    ]
    return [{"type": kind, "value": value[:200]} for kind, value in _distinct(found) if value][:500]


def _classifications(fields: dict[str, list[Field]]) -> list[dict[str, str]]:
    found = []
    for tag, scheme in _SCHEMES.items():
        for field in fields.get(tag, ()):
            # The slash of 082 shows where a number may be shortened; it is no part of it.
            value = " ".join(field.get_subfields("a", "b")) if tag != "082" else (field.get("a") or "").replace("/", "")
            found.append((field.get("2") or scheme if tag == "084" else scheme, clean(value)[:200]))
    return [{"scheme": scheme[:200], "value": value} for scheme, value in _distinct(found) if value][:50]


def _a(field: Field) -> list[str]:
    return list(field.get_subfields("a"))


def _fixed(fields: dict[str, list[Field]]) -> str:
    field = _first(fields, "008")
    return (field.data or "") if field else ""


def _first(fields: dict[str, list[Field]], tag: str) -> Field | None:
    return next(iter(fields.get(tag, ())), None)


def _all(fields: dict[str, list[Field]], *tags: str) -> Iterator[Field]:
    for tag in tags:
        yield from fields.get(tag, ())


def _text(field: Field, code: str) -> str | None:
    """The first subfield of this code that says something."""
    return next((text[:MAX_LINE] for text in map(plain, field.get_subfields(code)) if text), None)


def _first_text(fields: dict[str, list[Field]], tag: str, codes: str, *, all_of: bool = False) -> str | None:
    texts = (joined(field.get_subfields(*codes)) for field in fields.get(tag, ()))
    found = [text for text in texts if text]
    return ("; ".join(found) if all_of else found[0])[:MAX_LINE] if found else None


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order, the empty ones left out; dictionaries are compared by their items."""
    seen: dict[Any, Any] = {}
    for value in values:
        if value:
            seen.setdefault(tuple(value.items()) if isinstance(value, dict) else value, value)
    return list(seen.values())


_BIBLIOGRAPHIC: Final = frozenset("acdefgijkmoprt")
_OTHER_KINDS: Final = {
    "z": "an authority record", "w": "a classification record", "q": "a community information record",
    "u": "a holdings record", "v": "a holdings record", "x": "a holdings record", "y": "a holdings record",
}  # fmt: skip
_CONTRIBUTORS: Final = ("100", "110", "111", "700", "710", "711")
_NAME_SUBJECTS: Final = frozenset({"600", "610", "611"})
_SUBJECTS: Final = ("600", "610", "611", "630", "648", "650", "651", "653", "655")
_OTHER_TITLES: Final = ("130", "240", "242", "246", "247", "740")
_COLLECTIVE_TITLES: Final = frozenset(
    {"works", "selections", "poems", "short stories", "correspondence", "plays", "essays", "speeches", "prose works",
     "poems. selections", "works. selections", "novels", "laws, etc", "treaties, etc"}
)  # fmt: skip
_NAME: Final = (("contributor", "abcdq"),)
_LINKED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    **dict.fromkeys(("245", "246", "240", "130", "740"), (("title", "abnp"),)),
    **dict.fromkeys(_CONTRIBUTORS, _NAME),
    "250": (("edition", "ab"),),
    **dict.fromkeys(("260", "264"), (("place", "a"), ("publisher", "b"))),
    **dict.fromkeys(("440", "490", "800", "810", "811", "830"), (("series", "anptv"),)),
    **dict.fromkeys(_SUBJECTS, (("subject", "abcdxyz"),)),
    "520": (("summary", "ab"),),
}
_SCHEMES: Final = {"050": "lcc", "082": "ddc", "060": "nlm", "080": "udc", "084": "other"}
_UNKNOWN: Final = re.compile(r"(?i)\[?(s\.? ?l\.?|s\.? ?n\.?|б\. ?м\.?|б\. ?и\.?)\]?")
_FOUR_DIGITS: Final = re.compile(r"(?<!\d)(1[0-9]{3}|20[0-9]{2})(?!\d)")
_LAST_YEAR: Final = 2200
_LANGUAGE: Final = re.compile(r"[a-z]{3}")
_NO_LANGUAGE: Final = frozenset({"und", "zxx", "mul"})
# Source: MARC Code List for Languages, discontinued codes.
_RENAMED_LANGUAGES: Final = {
    "scr": "hrv", "scc": "srp", "mol": "rum", "iri": "gle", "gae": "gla", "esp": "epo", "eth": "gez", "far": "fao",
    "fri": "fry", "gal": "orm", "gua": "grn", "int": "ina", "kus": "kos", "lan": "oci", "lap": "smi", "max": "glv",
    "mla": "mlg", "sao": "smo", "sho": "sna", "snh": "sin", "sso": "sot", "swz": "ssw", "tag": "tgl", "taj": "tgk",
    "tar": "tat", "tru": "chk", "tsw": "tsn", "ajm": "alg", "cam": "khm", "esk": "ypk",
}  # fmt: skip
