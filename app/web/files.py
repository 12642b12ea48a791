"""Scripts, styles and fonts: kept by browsers, and asked for anew when their content changes."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from app.api.docs import STATIC

SERVED: Final = frozenset({".js", ".css", ".svg", ".woff2"})
A_YEAR: Final = "public, max-age=31536000, immutable"


class VersionedFiles(StaticFiles):
    """Files under /static, of the kinds that pages are made of; one with a version, and a font, never change."""

    async def get_response(self, path: str, scope: Scope) -> Any:
        if Path(path).suffix not in SERVED:
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        is_fixed = scope["query_string"].startswith(b"v=") or path.endswith(".woff2")
        response.headers["Cache-Control"] = A_YEAR if is_fixed else "no-cache"
        return response


@cache
def address_of(name: str) -> str:
    """Where a file is to be had, with the digest of its content; without one if it was not fetched."""
    path: Path = STATIC / name
    if not path.exists():
        return f"/static/{name}"
    return f"/static/{name}?v={hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()}"
