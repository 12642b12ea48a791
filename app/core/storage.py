"""Storage: files that live outside the database, in a folder or in an S3-compatible bucket, under one set of names."""

from collections.abc import AsyncIterator, Collection
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from app.core.config import Settings
from app.core.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ObjectStore, S3Config

CHUNK_BYTES: Final = 256 * 1024
TIMEOUT: Final = timedelta(seconds=10)
RETRIES: Final = 1


class FileMissing(NotFound):
    code, detail = "file_missing", "The file is not there any more."


class StorageUnavailable(Unavailable):
    code, detail = "storage_unavailable", "The library's files can't be reached just now; nothing was changed."


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is there: its name, and when it was written."""

    name: str
    written_at: datetime


class Storage:
    """Files by name, such as `uploads/<id>/<digest>.webp`; names are made by us and never by who asks.

    Every method raises StorageUnavailable if the folder or the bucket can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: ObjectStore | None = None

    async def put(self, name: str, data: bytes) -> None:
        """Write a file whole, or not at all; one that is there is replaced."""
        with _told():
            await obstore.put_async(self._store(), name, data)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """The file, piece by piece. Whether it is there is known before the first piece is asked for.

        Raises:
            FileMissing.
        """
        with _told():
            found = await obstore.get_async(self._store(), name)
        return _pieces(found.stream(CHUNK_BYTES))

    async def delete(self, names: Collection[str]) -> None:
        """Remove files; those that are not there are no trouble."""
        for name in names:
            try:
                with _told():
                    await obstore.delete_async(self._store(), name)
            except FileMissing:
                continue

    async def listed(self, prefix: str) -> AsyncIterator[Stored]:
        """The files whose names begin with the folder `prefix`."""
        with _told():
            async for batch in obstore.list(self._store(), prefix):
                for meta in batch:
                    yield Stored(meta["path"], meta["last_modified"])

    def _store(self) -> "ObjectStore":
        """Opened when it is first used, so that a service without files makes no folder."""
        if self._opened is None:
            self._opened = _bucket(self._settings) if self._settings.storage_url else _folder(self._settings)
        return self._opened


def _folder(settings: Settings) -> "ObjectStore":
    folder = settings.upload_dir or settings.data_dir / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(folder, automatic_cleanup=True)


def _bucket(settings: Settings) -> "ObjectStore":
    assert settings.storage_url
    url = urlsplit(settings.storage_url.get_secret_value())
    given = dict(parse_qsl(url.query))
    config: S3Config = {"region": given.get("region", "us-east-1")}
    if url.username and url.password:
        config["access_key_id"], config["secret_access_key"] = unquote(url.username), unquote(url.password)
    if "endpoint" in given:
        config["endpoint"] = given["endpoint"]
    return S3Store(
        url.hostname,
        prefix=url.path.strip("/") or None,
        config=config,
        client_options={"timeout": TIMEOUT, "allow_http": given.get("endpoint", "").startswith("http://")},
        retry_config={"max_retries": RETRIES},
    )


async def _pieces(stream: "AsyncIterator[bytes]") -> AsyncIterator[bytes]:
    with _told():
        async for piece in stream:
            yield bytes(piece)


@contextmanager
def _told() -> "Iterator[None]":
    """Say of the store's own errors what a caller can use; their texts name hosts and paths."""
    try:
        yield
    except FileNotFoundError:
        raise FileMissing from None
    except (BaseError, OSError) as error:
        raise StorageUnavailable from error
