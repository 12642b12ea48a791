"""Lists of all books for strangers, answered before the framework, which costs several times what they do."""

from typing import Final
from urllib.parse import parse_qsl

from app.api.responses import CATALOGUE, JSON, SURROGATE_KEY, VARY, digest, is_held, link_to_next, page_json
from app.books.shelf import Shelf
from app.core.config import Settings
from app.core.db import Database
from app.core.driver import NoAnswer
from app.core.exchange import Headers, Scope, Send
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor

_JSON: Final[Headers] = [(b"content-type", JSON.encode())]
_COMMON: Final[Headers] = [
    (b"cache-control", CATALOGUE.encode()),
    (b"vary", VARY.encode()),
    (SURROGATE_KEY.lower().encode(), b"catalogue"),
]
_MEMBERS: Final = {"sort": None, "cursor": None, "limit": str(DEFAULT_LIMIT)}


class Shelves:
    """Answers what it is sure of, with the bytes and headers of the endpoint; the application does the rest."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._path = f"{settings.api_v1_str}/books"
        self._shelves = {sort: Shelf(database, sort) for sort in (None, "newest", "title", "popularity")}

    async def answer(self, scope: Scope, send: Send) -> bool:
        """False: nothing was sent, the application must be asked."""
        if scope["path"] != self._path or scope["method"] != "GET":
            return False
        given = dict(scope["headers"])
        if b"authorization" in given or b"cookie" in given:
            return False
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        asked = _MEMBERS | dict(pairs)
        shelf, limit = self._shelves.get(asked["sort"]), _limit(asked["limit"])
        if len(asked) > len(_MEMBERS) or len(pairs) > len(dict(pairs)) or shelf is None or limit is None:
            return False
        try:
            page = await shelf.page(asked["cursor"], limit)
        except (InvalidCursor, StaleCursor, NoAnswer):
            return False
        body = page_json(page, (row.json() for row in page.rows)).encode()
        tag = digest(body)
        headers = [*_COMMON, (b"etag", tag.encode())]
        if page.next:
            headers.append((b"link", link_to_next(scope["path"], pairs, page.next).encode()))
        if is_held(given.get(b"if-none-match", b"").decode("latin-1"), tag):
            await _send(send, 304, headers, b"")
        else:
            await _send(send, 200, [*headers, *_JSON, (b"content-length", str(len(body)).encode())], body)
        return True


def _limit(text: str | None) -> int | None:
    """How many are asked for; None if that isn't plain."""
    return int(text) if text and text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= MAX_LIMIT else None


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
