"""Covers and documents: sent, made anew, given out as attachments, kept to oneself, and swept up."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from PIL import Image
from pydantic import SecretStr

from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.core.storage import Storage
from app.uploads import service as uploads
from app.users.models import Role
from tests.conftest import Person, sign_in_as
from tests.integration.uploads import samples

pytestmark = pytest.mark.anyio

API = "/api/v1"


async def send(person: Person, data: bytes, **query: str | int) -> httpx2.Response:
    asked: dict[str, str | int] = {"kind": "document", **query}
    return await person.client.post(f"{API}/uploads", params=asked, content=data)


async def names(storage: Storage) -> list[str]:
    return sorted([stored.name async for stored in storage.listed(uploads.FOLDER)])


async def book(librarian: Person) -> int:
    made = await librarian.client.post(f"{API}/books", json={"title": "With a cover"})
    book_id: int = made.json()["id"]
    return book_id


@pytest.mark.parametrize("image_format", samples.FORMATS)
async def test_an_image_is_made_anew_in_three_sizes(reader: Person, storage: Storage, image_format: str) -> None:
    original = io.BytesIO()
    picture = Image.new("RGB", (3_000, 1_000), "teal")
    exif = Image.Exif()
    exif[0x010E] = "canary in the metadata"
    picture.save(original, image_format, exif=exif)
    answer = await send(reader, original.getvalue(), file_name="Мой скан.jpeg")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"{API}/uploads/{told['id']}"
    assert [(v["name"], v["width"]) for v in told["variants"]] == [("large", 1_600), ("medium", 600), ("thumb", 200)]
    stored = await names(storage)
    assert [name.split("/")[1] for name in stored] == [told["id"]] * 3
    assert all(told["digest"] in name for name in stored)
    for size, width in (("large", 1_600), ("thumb", 200)):
        got = await reader.client.get(f"{API}/uploads/{told['id']}/content", params={"size": size})
        assert got.headers["content-type"] == "image/webp"
        assert b"canary" not in got.content
        with Image.open(io.BytesIO(got.content)) as served:
            assert (served.format, served.width) == ("WEBP", width)


async def test_what_leaves_is_an_attachment_that_no_browser_runs(reader: Person) -> None:
    told = (await send(reader, samples.PDF, file_name='Счёт "1".html')).json()
    got = await reader.client.get(f"{API}/uploads/{told['id']}/content")
    assert got.content == samples.PDF
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''" + quote('Счёт "1".html.pdf', safe="")
    assert got.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "no-store"


async def test_a_proxy_that_sends_files_is_told_which_one(reader: Person, storage: Storage, place: str) -> None:
    told = (await send(reader, samples.PDF)).json()
    url = f"{API}/uploads/{told['id']}/content"
    got = await reader.client.get(url, headers={"X-Sendfile-Type": "X-Accel-Redirect"})
    whole = await reader.client.get(url, headers={"X-Sendfile-Type": "X-Sendfile"})
    assert (whole.content, "x-accel-redirect" in whole.headers) == (samples.PDF, False)
    if place == "bucket":
        assert (got.content, "x-accel-redirect" in got.headers) == (samples.PDF, False)
        return
    assert (got.status_code, got.content) == (200, b"")
    assert await storage.read(got.headers["x-accel-redirect"].removeprefix("/_files/")) == samples.PDF
    for name in ("content-type", "content-disposition", "content-security-policy", "cache-control"):
        assert got.headers[name] == whole.headers[name]


async def test_the_same_file_again_is_the_same_upload(reader: Person, storage: Storage) -> None:
    first = await send(reader, samples.PDF)
    again = await send(reader, samples.PDF)
    assert first.json() == again.json()
    twins = await asyncio.gather(*(send(reader, samples.image()) for _ in range(4)))
    assert len({answer.json()["id"] for answer in twins}) == 1
    assert len(await names(storage)) == 4


async def test_a_form_serves_as_well_as_a_bare_body(reader: Person) -> None:
    form = {"file": ("any.pdf", samples.PDF, "text/html")}
    answer = await reader.client.post(f"{API}/uploads?kind=document", files=form)
    assert (answer.status_code, answer.json()["media_type"]) == (201, "application/pdf")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"--x\r\nrubbish", b"--y", b"--x--\r\n"):
        broken = await reader.client.post(f"{API}/uploads?kind=document", content=body, headers=headers)
        assert broken.status_code == 400, broken.text


async def test_a_document_is_its_owners_and_looks_at_it_are_written_down(
    service: Shell, database: Database, reader: Person, librarian: Person
) -> None:
    told = (await send(reader, samples.PDF)).json()
    url = f"{API}/uploads/{told['id']}"
    async with sign_in_as(service, database, Role.READER, email="other@library.test") as other:
        for answer in (await other.client.get(url), await other.client.get(f"{url}/content")):
            assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")
        assert (await other.client.delete(url)).status_code == 404
        assert (await other.client.get(f"{API}/uploads")).json()["items"] == []
    assert (await librarian.client.get(f"{url}/content")).content == samples.PDF
    assert (await librarian.client.delete(url)).status_code == 404
    seen = (await reader.client.get(f"{API}/auth/me/views")).json()["items"]
    assert [(view["what"], view["by"]) for view in seen] == [("document", "A librarian")]
    assert [item["id"] for item in (await reader.client.get(f"{API}/uploads")).json()["items"]] == [told["id"]]


async def test_deleting_an_upload_deletes_its_files(reader: Person, storage: Storage) -> None:
    told = (await send(reader, samples.image())).json()
    assert (await reader.client.delete(f"{API}/uploads/{told['id']}")).status_code == 204
    assert await names(storage) == []
    assert (await reader.client.get(f"{API}/uploads/{told['id']}/content")).status_code == 404


async def test_a_cover_is_everybodys_and_there_is_one(
    client: httpx2.AsyncClient, reader: Person, librarian: Person, storage: Storage
) -> None:
    book_id = await book(librarian)
    url = f"{API}/books/{book_id}/cover"
    assert (await client.get(url)).json()["code"] == "cover_not_found"
    assert (await send(reader, samples.image(), kind="cover", book_id=book_id)).status_code == 403
    for colour in ("teal", "red"):
        made = await send(librarian, samples.image(colour=colour), kind="cover", book_id=book_id)
        assert made.status_code == 201, made.text
    got = await client.get(url, params={"size": "thumb"})
    assert (got.status_code, got.headers["content-type"]) == (200, "image/webp")
    with Image.open(io.BytesIO(got.content)) as served:
        assert (served.width, served.getpixel((5, 5))[0] > 200) == (200, True)  # type: ignore[index]  # a pixel of three
    known = await client.get(url, params={"size": "thumb"}, headers={"If-None-Match": got.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert len(await names(storage)) == 3
    refused = await send(librarian, samples.PDF, kind="cover", book_id=book_id)
    assert refused.json()["code"] == "cover_not_an_image"
    assert (await send(librarian, samples.image(), kind="cover")).json()["code"] == "book_required"
    assert (await send(librarian, samples.image(), kind="cover", book_id=10**6)).json()["code"] == "book_not_found"
    assert len(await names(storage)) == 3


async def test_a_merged_book_gives_its_cover_to_the_one_that_is_kept(
    client: httpx2.AsyncClient, librarian: Person
) -> None:
    old, kept = await book(librarian), await book(librarian)
    await send(librarian, samples.image(), kind="cover", book_id=old)
    assert (await librarian.client.post(f"{API}/books/{old}/merge", json={"into": kept})).status_code == 204
    assert (await client.get(f"{API}/books/{kept}/cover")).status_code == 200
    moved = await client.get(f"{API}/books/{old}/cover")
    assert (moved.status_code, moved.headers["location"]) == (308, f"{API}/books/{kept}/cover")


async def test_orphans_are_swept_up_a_day_later_and_nothing_else_is(
    reader: Person, database: Database, storage: Storage
) -> None:
    kept = (await send(reader, samples.PDF)).json()
    orphans = ["uploads/01890000-0000-7000-8000-000000000000/a.webp", "uploads/stray", "uploads/no-id/b.webp"]
    for name in orphans:
        await storage.put(name, b"left behind")
    await storage.put("erasures/not-an-upload", b"")
    now = datetime.now(UTC)
    assert await uploads.sweep(database, storage, now=now) == 0
    assert await uploads.sweep(database, storage, now=now + timedelta(days=2)) == len(orphans)
    assert [name.split("/")[1] for name in await names(storage)] == [kept["id"]]
    assert [stored.name async for stored in storage.listed("erasures")] == ["erasures/not-an-upload"]


async def test_an_account_keeps_only_so_many_documents(reader: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_DOCUMENTS", 2)
    for number in range(2):
        assert (await send(reader, samples.PDF + b"%" * number + b"%%EOF")).status_code == 201
    refused = await send(reader, samples.PDF + b"%third%%EOF")
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_uploads")


async def test_storage_that_is_away_is_said_so_and_nothing_is_kept(
    reader: Person, settings: Settings, place: str, service: Shell
) -> None:
    told: dict[str, Any] = (await send(reader, samples.PDF)).json()
    state: Any = service.app.state  # type: ignore[attr-defined]  # the FastAPI inside
    if place == "folder":
        broken = settings.data_dir / "a file"
        broken.write_text("")
        away = settings.model_copy(update={"upload_dir": broken})
    else:
        away = settings.model_copy(update={"storage_url": SecretStr("s3://a:b@gone?endpoint=http://127.0.0.1:9")})
    state.storage = Storage(away)
    for answer in (await send(reader, samples.image()), await reader.client.get(f"{API}/uploads/{told['id']}/content")):
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert len((await reader.client.get(f"{API}/uploads")).json()["items"]) == 1
