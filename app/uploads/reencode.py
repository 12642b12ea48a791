"""Makes an image anew. Run as a process of its own, without a secret in its environment and within tight limits:
whatever a stranger's bytes do to the decoder, the service does not notice.

Reads the image from standard input; writes one line of JSON, then the files that it announces, one after another.
"""

import contextlib
import io
import json
import resource
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageOps

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
MAX_PIXELS: Final = 25_000_000
SIDES: Final = {"large": 1_600, "medium": 600, "thumb": 200}
QUALITY: Final = 82
MEMORY_BYTES: Final = 1024**3
CPU_SECONDS: Final = 10
OPEN_FILES: Final = 32


def main() -> None:
    """Answer `{"files": …}`, `{"refused": "too_many_pixels"}` or `{"refused": "unreadable"}`."""
    _confine()
    data = sys.stdin.buffer.read()
    try:
        answer, files = remake(data)
    except Exception:  # noqa: BLE001  # whatever the decoder makes of it, it is no image for us
        answer, files = {"refused": "unreadable"}, []
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + b"".join(files))


def remake(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The image in each size as WebP, the largest first, without anything else that the file held."""
    Image.MAX_IMAGE_PIXELS = None  # judged below, before anything is decoded
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            return {"refused": "too_many_pixels"}, []
        image.draft("RGB", (SIDES["large"], SIDES["large"]))
        picture: Image.Image = image
        if image.mode in {"1", "P"}:  # can't be made smaller smoothly
            picture = image.convert("RGBA" if "transparency" in image.info else "RGB")
        picture.thumbnail((SIDES["large"], SIDES["large"]))
        picture = ImageOps.exif_transpose(picture)
        has_alpha = picture.has_transparency_data
        picture = picture.convert("RGBA" if has_alpha else "RGB")
    files, told = [], {}
    for name, side in SIDES.items():
        picture.thumbnail((side, side))
        encoded = io.BytesIO()
        clean = Image.new(picture.mode, picture.size)
        clean.paste(picture)
        clean.save(encoded, "WEBP", quality=QUALITY)
        files.append(encoded.getvalue())
        told[name] = {"width": picture.width, "height": picture.height, "size_bytes": len(files[-1])}
    return {"files": told}, files


def _confine() -> None:
    """25 megapixels of WebP take 450 MB: where that is more than there is, this process dies and no other."""
    with contextlib.suppress(OSError):  # no Linux
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    main()
