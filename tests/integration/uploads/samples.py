"""Files to send: good ones of each type, and those that an attacker would."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def image(image_format: str = "PNG", *, size: tuple[int, int] = (640, 480), colour: str = "teal") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, image_format)
    return data.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that say they are so many pixels, and would decode to them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = b"\0" * (width * 3 + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """An image of one pixel with a comment that unpacks to 64 megabytes."""
    plain = image("PNG", size=(1, 1))
    body = b"Comment\0\0" + zlib.compress(b"A" * (64 * 1024 * 1024), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return plain[:33] + chunk + plain[33:]


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("evil.class", b"\xca\xfe\xba\xbe")
    return data.getvalue()


def polyglots() -> dict[str, bytes]:
    """Files that are two things: what each would be to whom."""
    return {
        "an image and an archive": image("GIF") + archive(),
        "an image and a page": image("JPEG") + b"<html><script>alert(1)</script>",
        "an image and a program": image("PNG") + b"<?php system($_GET['c']); ?>",
        "an image and a document": image("PNG") + PDF,
        "a document and an archive": PDF + archive(),
        "a document and a page": b"%PDF-1.4\n<script>alert(1)</script>\n%%EOF\n",
    }


def unknown() -> dict[str, bytes]:
    """What is neither an image nor a document, whatever its name says."""
    return {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "html": b"<!doctype html><script>alert(1)</script>",
        "program": b"\x7fELF" + bytes(60),
        "archive": archive(),
        "tiff": b"II*\0" + bytes(60),
        "bmp": b"BM" + bytes(60),
        "ico": b"\0\0\1\0" + bytes(60),
        "text": b"just text",
        "postscript": b"%!PS-Adobe-3.0\n",
        "pdf later": b"\n\n%PDF-1.4\n%%EOF\n",
    }


def mutilated(count: int, *, seed: int) -> Iterator[bytes]:
    """Good images with bytes changed, cut off, doubled or inserted."""
    chance = random.Random(seed)
    whole = [image(name, size=(chance.randrange(1, 300), chance.randrange(1, 300))) for name in FORMATS * 3]
    for _ in range(count):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 12)):
            where = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[where] = chance.randrange(256)
                case 1:
                    del data[max(where, 12) :]
                case 2:
                    data[where:where] = data[where : where + chance.randrange(64)]
                case _:
                    data[where:where] = chance.randbytes(chance.randrange(1, 16))
        yield bytes(data)
