"""Holdings: copies that stand in bibliographic records (fields 852 and 952) or in columns of a table."""

from __future__ import annotations  # so that naming a type of theirs doesn't load it

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import ValidationError

from app.copies.schemas import CopyCreate
from app.core.loading import pymarc
from app.imports.formats.punctuation import clean
from app.imports.formats.slicing import Field, Record

COLUMNS: Final = ("barcode", "call_number", "branch", "shelf_location", "item_type", "price_minor", "note")


def copies_of(record: Record) -> tuple[tuple[CopyCreate, ...], tuple[str, ...]]:
    """The copies that the record's holdings describe, and what is wrong with those that can't be used.

    A holding without a barcode is no copy that could be lent. Source: MARC 21 Format for Holdings Data (852); the
    items of Koha (952).
    """
    held = [_written(field, _KOHA) for field in record.get_fields("952")]
    held += [_written(field, _MARC) for field in record.get_fields("852")]
    return checked(copy for copy in held if copy.get("barcode"))


def checked(held: Iterable[Mapping[str, object]]) -> tuple[tuple[CopyCreate, ...], tuple[str, ...]]:
    """Copies from their parts, each barcode once, and a sentence for each that is not one."""
    copies: dict[str, CopyCreate] = {}
    problems = []
    for parts in held:
        try:
            copy = CopyCreate.model_validate(parts)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, item["loc"])) + " " + item["msg"] for item in error.errors())
            problems.append(f"copy {parts.get('barcode')}: {where}"[:300])
        else:
            copies.setdefault(copy.barcode, copy)
    return tuple(copies.values()), tuple(problems)


def code_of(text: str) -> str:
    """A branch or item type as this library writes codes: `Main Lib.` is `main-lib`."""
    return _NO_CODE.sub("-", text.strip().lower()).strip("-_")[:32]


def field_of(copy: CopyCreate) -> pymarc.Field:
    """The 952 field that `copies_of` reads back."""
    values = copy.model_dump()
    return pymarc.Field(
        tag="952",
        indicators=pymarc.Indicators(" ", " "),
        subfields=[
            pymarc.Subfield(code, str(values[name])) for code, name in _KOHA.items() if values[name] is not None
        ],
    )


def _written(field: Field, codes: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for code, value in field.subfields:
        name = codes.get(code)
        text = clean(value)
        if not name or not text:
            continue
        if name in {"branch", "item_type"}:
            text = code_of(text)
        if name == "price_minor":
            if text.isdecimal():
                found[name] = int(text)
        elif name == "call_number" and name in found:
            found[name] = f"{found[name]} {text}"[:200]
        elif text:
            found.setdefault(name, text[:200] if name != "note" else text)
    return found


_NO_CODE: Final = re.compile(r"[^a-z0-9_-]+")
# $1 is ours: a price in minor units, which Koha has no place for.
_KOHA: Final = {
    "p": "barcode", "o": "call_number", "a": "branch", "c": "shelf_location", "y": "item_type", "1": "price_minor",
    "z": "note",
}  # fmt: skip
_MARC: Final = {
    "p": "barcode", "h": "call_number", "i": "call_number", "b": "branch", "c": "shelf_location", "z": "note",
}  # fmt: skip
