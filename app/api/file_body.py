"""The one file in a request: the body itself, or the first file of a multipart form, read as it comes in."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.errors import MalformedBody
from app.core.errors import BadRequest

FILE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


class NoFileSent(BadRequest):
    code, detail = "no_file_sent", "Send the file as the body, or as the part `file` of a multipart form."


class FileBody:
    """The file in a request: the body itself, or the first file of a multipart form, read as it comes in."""

    def __init__(self, request: Request) -> None:
        self._request = request
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        self._boundary = options.get(b"boundary") if kind == b"multipart/form-data" else None

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._boundary is None:
            async for chunk in self._request.stream():
                if chunk:
                    yield chunk
            return
        part = _FilePart(self._boundary)
        async with aclosing(self._request.stream()) as stream:
            async for chunk in stream:
                for piece in part.feed(chunk):
                    yield piece
        if not part.was_there:
            raise NoFileSent


class _FilePart:
    """Finds the part with a file name in a form and gives its bytes."""

    def __init__(self, boundary: bytes) -> None:
        self.was_there = False
        self._is_file = False
        self._name = b""
        self._value = b""
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedBody from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition" and not self.was_there:
            _, options = parse_options_header(self._value)
            self._is_file = b"filename" in options
        self._name = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.was_there = True
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        self._is_file = False
