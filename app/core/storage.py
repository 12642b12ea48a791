"""Storage: files that live outside the database, in a folder or in an S3-compatible bucket, under one set of names."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from app.core.config import Settings
from app.core.errors import NotFound, Unavailable
from app.core.loading import obstore

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config

T = TypeVar("T")

TIMEOUT: Final = timedelta(seconds=10)
RETRIES: Final = 1
_executor = ThreadPoolExecutor(max_workers=8, thread_name_prefix="storage")


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

    @property
    def is_folder(self) -> bool:
        """Whether the files are in a folder, which a proxy on this machine may see as well."""
        return self._settings.storage_url is None

    async def put(self, name: str, data: bytes) -> None:
        """Write a file whole, or not at all; one that is there is replaced."""
        await self._do(lambda store: obstore.put(store, name, data))

    async def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            FileMissing.
        """
        return await self._do(lambda store: bytes(obstore.get(store, name).bytes()))

    async def delete(self, names: Collection[str]) -> None:
        """Remove files; those that are not there are no trouble."""
        for name in names:
            with contextlib.suppress(FileMissing):
                await self._do(partial(obstore.delete, paths=name))

    async def listed(self, prefix: str) -> AsyncIterator[Stored]:
        """The files whose names begin with the folder `prefix`, as many at a time as the store tells at once."""
        batches = await self._do(lambda store: iter(obstore.list(store, prefix)))
        while batch := await self._do(lambda _: next(batches, ())):
            for meta in batch:
                yield Stored(meta["path"], meta["last_modified"])

    async def _do(self, work: Callable[["ObjectStore"], T]) -> T:
        """Work in a thread. The library's own coroutines end in threads that Python knows nothing of, and one that
        ended while the interpreter did took a short command down with it (seen: SIGABRT).
        """
        with _told():
            return await asyncio.get_running_loop().run_in_executor(_executor, lambda: work(self._store()))

    def _store(self) -> "ObjectStore":
        """Opened when it is first used, so that a service without files makes no folder."""
        if self._opened is None:
            self._opened = _bucket(self._settings) if self._settings.storage_url else _folder(self._settings)
        return self._opened


def _folder(settings: Settings) -> "ObjectStore":
    folder = settings.upload_dir or settings.data_dir / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return obstore.store.LocalStore(folder, automatic_cleanup=True)


def _bucket(settings: Settings) -> "ObjectStore":
    assert settings.storage_url
    url = urlsplit(settings.storage_url.get_secret_value())
    given = dict(parse_qsl(url.query))
    config: S3Config = {"region": given.get("region", "us-east-1")}
    if url.username and url.password:
        config["access_key_id"], config["secret_access_key"] = unquote(url.username), unquote(url.password)
    if "endpoint" in given:
        config["endpoint"] = given["endpoint"]
    return obstore.store.S3Store(
        url.hostname,
        prefix=url.path.strip("/") or None,
        config=config,
        client_options={"timeout": TIMEOUT, "allow_http": given.get("endpoint", "").startswith("http://")},
        retry_config={"max_retries": RETRIES},
    )


@contextmanager
def _told() -> Iterator[None]:
    """Say of the store's own errors what a caller can use; their texts name hosts and paths."""
    try:
        yield
    except FileNotFoundError:
        raise FileMissing from None
    except (obstore.exceptions.BaseError, OSError) as error:
        raise StorageUnavailable from error
