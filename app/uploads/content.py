"""What a file is, judged by its bytes alone: its type, whether it is two things at once, and images made anew."""

import asyncio
import json
import subprocess  # it runs only our own program
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from app.core.errors import AppError, Unprocessable

# Beginnings of files. Source: the formats' own specifications; WebP's eight bytes stand around its length.
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
IMAGE: Final = "image/webp"
ENDINGS: Final = {IMAGE: "webp", "application/pdf": "pdf"}
_FOREIGN: Final = (b"<script", b"<html", b"<?php")
_PDF_END_BYTES: Final = 1_024
_SNIFFED_BYTES: Final = 1_024
DECODE_SECONDS: Final = 20
_REENCODE: Final = Path(__file__).with_name("reencode.py")
# One image at a time: decoding takes a processor and up to a few hundred megabytes, in a process of its own.
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="images")


class UnsupportedFile(AppError):
    status, code, detail = 415, "file_type_unknown", "The file is none of: {allowed}."


class FileTypeNotAllowed(UnsupportedFile):
    code, detail = "file_type_not_allowed", "The library takes no {media_type} here, only: {allowed}."


class FileEmpty(Unprocessable):
    code, detail = "file_empty", "The file is empty."


class FileIsTwoThings(Unprocessable):
    code, detail = "file_is_two_things", "The file is something else besides {media_type}; send it plain."


class ImageUnreadable(Unprocessable):
    code, detail = "image_unreadable", "The image is broken or can't be read."


class TooManyPixels(Unprocessable):
    code, detail = "too_many_pixels", "The image has more than 25 megapixels; send a smaller one."


@dataclass(frozen=True, slots=True)
class Remade:
    """What is stored of a file: its type, and each variant's facts and bytes."""

    media_type: str
    variants: dict[str, dict[str, Any]]
    files: dict[str, bytes]


def type_of(data: bytes, *, allowed: tuple[str, ...]) -> str:
    """The media type of a file that is one thing only.

    Raises:
        FileEmpty, UnsupportedFile, FileTypeNotAllowed, FileIsTwoThings.
    """
    if not data:
        raise FileEmpty
    listed = ", ".join(allowed)
    is_webp = data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    media_type = "image/webp" if is_webp else next((kind for start, kind in _BEGINNINGS if data.startswith(start)), "")
    if not media_type:
        raise UnsupportedFile(allowed=listed)
    if media_type not in allowed:
        raise FileTypeNotAllowed(media_type=media_type, allowed=listed)
    if _is_also_another(data, media_type):
        raise FileIsTwoThings(media_type=media_type)
    return media_type


async def remade(data: bytes, media_type: str) -> Remade:
    """The file as it is stored: an image in three sizes, decoded and encoded anew; a document as it came.

    Raises:
        ImageUnreadable, TooManyPixels.
    """
    if not media_type.startswith("image/"):
        return Remade(media_type, {"original": {"size_bytes": len(data)}}, {"original": data})
    output = await asyncio.get_running_loop().run_in_executor(_executor, _decode, data)
    return _taken(output)


def _decode(data: bytes) -> bytes:
    command = [sys.executable, "-I", str(_REENCODE)]
    try:
        done = subprocess.run(command, env={}, input=data, capture_output=True, timeout=DECODE_SECONDS, check=False)  # noqa: S603  # our own program
    except subprocess.TimeoutExpired:
        return b""
    return done.stdout


def _taken(output: bytes) -> Remade:
    head, _, rest = output.partition(b"\n")
    try:
        told = json.loads(head)
    except ValueError:  # it was killed: for its memory, its time, or by its decoder
        raise ImageUnreadable from None
    if "refused" in told:
        raise TooManyPixels if told["refused"] == "too_many_pixels" else ImageUnreadable
    files, start = {}, 0
    for name, facts in told["files"].items():
        files[name] = rest[start : start + facts["size_bytes"]]
        start += facts["size_bytes"]
    return Remade(IMAGE, told["files"], files)


def _is_also_another(data: bytes, media_type: str) -> bool:
    """Whether other programs would take the file for something else: an archive, a page, a program, a second type."""
    searched = data.lower()
    if media_type == "application/pdf":
        searched = searched[:_SNIFFED_BYTES]
        if b"%%EOF" not in data[-_PDF_END_BYTES:]:
            return True
    elif b"%PDF-" in data:
        return True
    return any(mark in searched for mark in _FOREIGN) or zipfile.is_zipfile(BytesIO(data))
