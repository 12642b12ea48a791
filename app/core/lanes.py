"""Lanes: how many requests of a kind are worked on at once, how long one may take, how large its body may be.

What does not fit into its lane is told so at once (503, Retry-After): a queue would only make everybody late. Signing
in and the desk have lanes of their own, which a rush on the catalogue can't fill.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.exchange import MAX_BODY_BYTES

DEADLINE_SECONDS: Final = 8.0
IDLE_SECONDS: Final = 15.0
MAX_IMPORTS_AT_ONCE: Final = 8
# An upload is held in memory whole: so many at once, of MAX_UPLOAD_SIZE each.
MAX_UPLOADS_AT_ONCE: Final = 16
# What a multipart form may hold besides the file.
FORM_BYTES: Final = 64_000
# What a browser reports of a page's policy: small, and of no hurry.
REPORT_BYTES: Final = 8_000
MAX_REPORTS_AT_ONCE: Final = 4
KNOWN_PATHS: Final = 4_096


class Overloaded(Unavailable):
    code, detail = "overloaded", "The library is very busy just now; try again in a moment."


@dataclass(slots=True)
class Lane:
    """`deadline_seconds` is for the whole answer, `idle_seconds` for the next piece of a body.

    Only a lane that takes files lets a multipart body in; what would read it elsewhere keeps files of it open.
    """

    width: int
    deadline_seconds: float | None = DEADLINE_SECONDS
    idle_seconds: float = IDLE_SECONDS
    body_bytes: int = MAX_BODY_BYTES
    takes_files: bool = False
    busy: int = 0

    def __enter__(self) -> Self:
        """Take a place in it.

        Raises:
            Overloaded: it is full.
        """
        if self.busy >= self.width:
            raise Overloaded
        self.busy += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.busy -= 1


class Lanes:
    """Which lane a path goes by: `of(path)`, taken while a `with` block runs."""

    def __init__(self, settings: Settings) -> None:
        root = settings.api_v1_str
        self._general = Lane(settings.max_concurrency)
        sign_in, desk = Lane(settings.max_concurrency), Lane(settings.max_concurrency)
        transfer = Lane(settings.max_concurrency, deadline_seconds=None)
        upload_bytes = settings.max_upload_size + FORM_BYTES
        files = Lane(MAX_UPLOADS_AT_ONCE, deadline_seconds=None, body_bytes=upload_bytes, takes_files=True)
        import_bytes = settings.max_import_size + FORM_BYTES
        catalogue = Lane(MAX_IMPORTS_AT_ONCE, deadline_seconds=None, body_bytes=import_bytes, takes_files=True)
        reports = Lane(MAX_REPORTS_AT_ONCE, body_bytes=REPORT_BYTES)
        stream = Lane(settings.max_concurrency * 10, deadline_seconds=None)
        self._by_path = {
            f"{root}/books/availability/stream": stream,
            f"{root}/books/export": transfer,
            f"{root}/books/import": catalogue,
            "/imports": catalogue,
        }
        self._by_resource = {
            f"{root}/auth": sign_in,
            f"{root}/loans": desk,
            f"{root}/returns": desk,
            f"{root}/desk": desk,
            f"{root}/uploads": files,
        }
        # Pages stand at the root, where the first part of the path is the resource.
        self._by_page = {"login": sign_in, "desk": desk, "covers": files, "csp-reports": reports}
        self._resource_parts = root.count("/") + 2
        self.of = lru_cache(maxsize=KNOWN_PATHS)(self._of)

    def _of(self, path: str) -> Lane:
        resource = self._by_resource.get(self._resource(path)) or self._by_page.get(path.lstrip("/").partition("/")[0])
        return self._by_path.get(path) or resource or self._general

    def _resource(self, path: str) -> str:
        return "/".join(path.split("/", self._resource_parts)[: self._resource_parts])
