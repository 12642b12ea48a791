"""Opening a catalogue file: decompressed within bounds, refused by name where it can be no catalogue."""

import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from app.core.errors import Unprocessable

HEAD_BYTES: Final = 4_096
# A catalogue of the Library of Congress shrinks to a seventh; what grows a hundredfold is made to fill memory or disk.
MAX_EXPANSION: Final = 100
FREE_EXPANSION_BYTES: Final = 64 << 20


class UnusableFile(Unprocessable):
    """The file as a whole can't be read (on); what was taken in before stands, each record whole or not at all."""

    code, detail = "unusable_file", "{name} can't be used."


class FileMissing(UnusableFile):
    code, detail = "file_missing", "There is no file {name}."


class IsDirectory(UnusableFile):
    code, detail = "is_directory", "{name} is a directory; name the files in it."


class FileUnreadable(UnusableFile):
    code, detail = "file_unreadable", "{name} can't be read: {reason}."


class FileEmpty(UnusableFile):
    code, detail = "file_empty", "{name} is empty."


class FileIsHtml(UnusableFile):
    code, detail = "file_is_html", "{name} is a web page, not a catalogue; was the download an error page?"


class ArchiveBroken(UnusableFile):
    code, detail = "archive_broken", "{name} is damaged or cut off: {reason}."


class ExpandsTooMuch(UnusableFile):
    code, detail = "expands_too_much", "{name} unpacks to more than {times} times its size; that is no catalogue."


class FileChanged(UnusableFile):
    code, detail = "file_changed", "{name} changed while it was read; import it again when it is complete."


class ReaderEnded(UnusableFile):
    code, detail = (
        "reader_ended",
        (
            "{name} can't be read on: the process that reads it ended (status {status}). What was taken in stands;"
            " import the file again to go on."
        ),
    )


class Source:
    """An open catalogue file: `read` gives unpacked bytes, `head` what it begins with.

    `consumed_bytes` of `size_bytes` tells how far reading has come, in bytes as they lie on disk.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file
        self._before = os.fstat(file.fileno())
        self.size_bytes = self._before.st_size
        self._unpacked_bytes = 0
        self._stream = self._unpacker(file)
        self._kept = b""
        self.head = self.read(HEAD_BYTES)
        if not self.head.strip(b"\r\n\t \x00"):
            raise FileEmpty(name=name)
        if _HTML.match(self.head):
            raise FileIsHtml(name=name)
        self._kept = self.head

    @property
    def consumed_bytes(self) -> int:
        return min(self._file.tell(), self.size_bytes)

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` unpacked bytes, empty at the end.

        Raises:
            FileUnreadable, ArchiveBroken, ExpandsTooMuch.
            FileChanged: found at the end.
        """
        if self._kept:
            data, self._kept = self._kept[:size], self._kept[size:]
            return data
        try:
            data = self._stream.read(size)
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveBroken(name=self.name, reason=_lowered(error)) from error
        except OSError as error:
            raise FileUnreadable(name=self.name, reason=error.strerror or "input error") from error
        self._unpacked_bytes += len(data)
        if self._unpacked_bytes > max(FREE_EXPANSION_BYTES, MAX_EXPANSION * self._file.tell()):
            raise ExpandsTooMuch(name=self.name, times=MAX_EXPANSION)
        if not data and size:
            self._check_unchanged()
        return data

    def _check_unchanged(self) -> None:
        after = os.fstat(self._file.fileno())
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise FileChanged(name=self.name)

    @staticmethod
    def _unpacker(file: BinaryIO) -> IO[bytes]:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"\xfd7zXZ\x00"):
            return lzma.LZMAFile(file)
        if start.startswith(b"\x1f\x8b"):
            return cast(IO[bytes], gzip.GzipFile(fileobj=file))
        return file


@contextmanager
def opened(path: Path, *, name: str | None = None) -> Iterator[Source]:
    """The file, plain or packed as .xz or .gz, whatever its name says; problems speak of it as `name`.

    Raises:
        FileMissing, IsDirectory, FileUnreadable, FileEmpty, FileIsHtml, ArchiveBroken.
    """
    shown = name or path.name or str(path)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileMissing(name=name or str(path)) from None
    except IsADirectoryError:
        raise IsDirectory(name=name or str(path)) from None
    except OSError as error:
        raise FileUnreadable(name=shown, reason=(error.strerror or "unknown error").lower()) from None
    with file:
        yield Source(shown, file)


def _lowered(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]


_HTML: Final = re.compile(rb"(?is)\s*(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b")
