"""Looking a book up by its ISBN where other libraries answer SRU with MARCXML; off unless ISBN_LOOKUP_URLS is set."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import structlog
from httpx2 import AsyncClient, HTTPError

from app.books import identifiers
from app.books.schemas import BookCreate
from app.core.config import Settings
from app.core.errors import Unavailable
from app.imports.formats import marcxml
from app.imports.formats.building import book_in
from app.imports.opening import UnusableFile

log = structlog.get_logger()

MAX_SECONDS: Final = 3.0
MAX_ANSWER_BYTES: Final = 256 * 1024


class LookupFailed(Unavailable):
    code, detail = "lookup_failed", "{provider} gave no usable answer; type the book in, or try again later."


async def by_isbn(settings: Settings, isbn13: str) -> tuple[BookCreate, str] | None:
    """The book as the first provider describes it that knows it, and that provider's host; None if none does.

    Nothing is saved. Only the addresses that the operator has set are asked, with the digits in their place;
    redirects aren't followed. Takes 3 seconds a provider at most. Source: SRU 1.2 and MARCXML, Library of Congress.

    Raises:
        LookupFailed: nobody knew it, and a provider couldn't be asked.
    """
    silent = None
    for template in settings.isbn_lookup_urls.split():
        host = urlsplit(template).hostname or ""
        try:
            found = await asyncio.to_thread(_described, await _ask(template.replace("{isbn}", isbn13)), isbn13)
        except (OSError, TimeoutError, ValueError, LookupError, UnusableFile) as error:
            log.warning("lookup_failed", provider=host, reason=type(error).__name__)
            silent = host
            continue
        if found is not None:
            return found, host
    if silent is not None:
        raise LookupFailed(provider=silent)
    return None


async def _ask(url: str) -> bytes:
    body = bytearray()
    try:
        async with (
            asyncio.timeout(MAX_SECONDS),
            AsyncClient(trust_env=False, timeout=MAX_SECONDS, headers={"Accept-Encoding": "identity"}) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:  # noqa: PLR2004  # OK
                raise ConnectionError(answer.status_code)
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise ConnectionError("the answer is too large")
    except HTTPError as error:
        raise ConnectionError(str(error)) from error
    return bytes(body)


def _described(answer: bytes, isbn13: str) -> BookCreate | None:
    """The book of the first record that is about this ISBN; providers also answer with others."""
    books = (book_in(record) for record in marcxml.records_in(answer))
    return next((book for book in books if isbn13 in _isbns(book)), None)


def _isbns(book: BookCreate) -> set[str | None]:
    return {identifiers.normalize(one.type, one.value) for one in book.identifiers if one.type == "isbn"}
