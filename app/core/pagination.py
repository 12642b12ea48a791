"""Keyset pages: a cursor says where the last page ended and which question it belongs to."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final
from uuid import UUID

from app.core.errors import BadRequest

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
MAX_CURSOR_CHARACTERS: Final = 1_024
MAX_ID: Final = 2**63 - 1


class InvalidCursor(BadRequest):
    code, detail = "invalid_cursor", "The cursor is not one that this service gave; start from the first page."


class StaleCursor(BadRequest):
    code, detail = "stale_cursor", "The cursor belongs to another question or order; start from the first page."


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row's sort key (None where the id alone orders) and id."""

    key: str | int | None
    id: int | str

    def encode(self, question: str) -> str:
        raw = json.dumps([question, self.key, self.id], ensure_ascii=False, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str | None, question: str, *, key: type = NoneType, row_id: type = int) -> Cursor | None:
    """Read a cursor back; `key` and `row_id` are the types that the statement compares with.

    Raises:
        InvalidCursor: not ours; every part is checked, since a client may write what it likes.
        StaleCursor: of another query or sort.
    """
    if text is None:
        return None
    if len(text) > MAX_CURSOR_CHARACTERS:
        raise InvalidCursor
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        asked, last_key, last_id = json.loads(raw)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor from error
    if not _is(last_key, key) or not _is(last_id, row_id):
        raise InvalidCursor
    if asked != question:
        raise StaleCursor
    return Cursor(last_key, last_id)


def _is(value: Any, expected: type) -> bool:
    if type(value) is not expected:
        return False
    if isinstance(value, str):
        return value.isprintable()
    return not isinstance(value, int) or -MAX_ID <= value <= MAX_ID


def question_of(*parts: Any) -> str:
    """A short fingerprint of a query and its order; the same question always has the same one."""
    return hashlib.sha256(json.dumps(parts, default=str, ensure_ascii=False).encode()).hexdigest()[:16]


def uuid_of(cursor: Cursor) -> UUID:
    """The cursor's row id as a UUID.

    Raises:
        InvalidCursor.
    """
    try:
        return UUID(str(cursor.id))
    except ValueError as error:
        raise InvalidCursor from error
