"""Hostile files: each kind is refused with its own code, the service lives on, and what is stored was made by us."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.core.storage import Storage
from app.uploads import reencode
from tests import evidence
from tests.conftest import Person
from tests.integration.uploads import samples
from tests.integration.uploads.test_uploads import names, send

pytestmark = pytest.mark.anyio

HOSTILE = 500 if os.environ.get("FULL") else 60
SEED = int(os.environ.get("SEED", "20260917"))
GROWTH_BYTES = 150 * 1024 * 1024


@pytest.fixture
def place() -> str:
    return "folder"


@pytest.mark.parametrize(("data", "status", "code"), [
    (b"", 422, "file_empty"),
    (samples.image("PNG")[:60], 422, "image_unreadable"),
    (samples.png_bomb(6_000, 5_000), 422, "too_many_pixels"),
    (samples.png_bomb(60_000, 60), 201, None),
    (samples.text_bomb(), 422, "image_unreadable"),
    (b"%PDF-1.4\nno end", 422, "file_is_two_things"),
    (samples.image("PNG", size=(10, 10)) + b"\0" * (10 * 1024 * 1024), 413, "body_too_large"),
], ids=["empty", "cut off", "pixel bomb", "long and thin", "text bomb", "endless document", "too large"])  # fmt: skip
async def test_a_malformed_file_is_refused_with_its_own_code(
    reader: Person, data: bytes, status: int, code: str | None
) -> None:
    answer = await send(reader, data)
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


@pytest.mark.parametrize("what", samples.polyglots())
async def test_a_file_that_is_two_things_is_refused(reader: Person, what: str) -> None:
    answer = await send(reader, samples.polyglots()[what])
    assert (answer.status_code, answer.json()["code"]) == (422, "file_is_two_things")


@pytest.mark.parametrize("what", samples.unknown())
async def test_a_type_that_is_not_taken_is_refused_whatever_it_is_called(reader: Person, what: str) -> None:
    answer = await send(reader, samples.unknown()[what], file_name="harmless.png")
    assert (answer.status_code, answer.json()["code"]) == (415, "file_type_unknown")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b.png", "C:\\boot.ini", "/etc/passwd", "..\\up.pdf"])
async def test_a_name_that_is_a_path_is_refused(reader: Person, storage: Storage, name: str) -> None:
    answer = await send(reader, samples.PDF, file_name=name)
    assert (answer.status_code, answer.json()["code"]) == (422, "unsafe_file_name")
    assert await names(storage) == []


def test_where_memory_runs_out_the_decoder_dies_before_the_service() -> None:
    code = (
        f"import runpy; runpy.run_path({reencode.__file__!r})['_confine']();"
        " print(open('/proc/self/oom_score_adj').read())"
    )
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "1000"


async def test_no_hostile_file_kills_or_bloats_the_service_and_all_that_is_stored_was_made_anew(
    reader: Person, librarian: Person, storage: Storage
) -> None:
    """Each mutilated image is sent as a cover, so that the next takes its place."""
    book_id = (await librarian.client.post("/api/v1/books", json={"title": "Target"})).json()["id"]
    await send(librarian, samples.image(), kind="cover", book_id=book_id)
    before, taken, codes = _memory_bytes(), 0, set()
    for data in samples.mutilated(HOSTILE, seed=SEED):
        answer = await send(librarian, data, kind="cover", book_id=book_id)
        assert answer.status_code in {201, 413, 415, 422}, (SEED, answer.text)
        if answer.status_code == 201:
            taken += 1
            got = await reader.client.get(f"/api/v1/books/{book_id}/cover", params={"size": "large"})
            with Image.open(io.BytesIO(got.content)) as served:
                assert served.format == "WEBP"
                served.load()
        else:
            codes.add(answer.json()["code"])
    grown = _memory_bytes() - before
    assert grown < GROWTH_BYTES
    assert {"image_unreadable", "file_type_unknown"} <= codes
    evidence.keep(
        "S7", "files", hostile=HOSTILE, remade=taken, refused=HOSTILE - taken, grown_mb=round(grown / 2**20), seed=SEED
    )


def _memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
