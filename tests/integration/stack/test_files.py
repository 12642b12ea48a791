"""Uploads behind the shipped proxy: the service says who may have which file, the proxy's own hands send it."""

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from tests import evidence
from tests.integration.stack.client import Client
from tests.integration.stack.desk import API, account
from tests.integration.stack.running import GATEWAY, HOST, SECOND_CLIENT, Stack
from tests.integration.uploads import samples

# What the proxy says for itself, and what counts or names the single request.
OWN = {"server", "date", "connection", "content-length", "accept-ranges", "x-request-id", "ratelimit"}
OWN |= {"content-encoding", "transfer-encoding", "x-accel-redirect"}


@dataclass(frozen=True)
class Given:
    """A document of the reader's and the cover of a book, and who is who."""

    reader: dict[str, str]
    other: dict[str, str]
    document: str
    cover: str
    file: Path
    """The document, where the service keeps it."""


@pytest.fixture(scope="module")
def given(stack: Stack) -> Iterator[Given]:
    with Client(stack, SECOND_CLIENT) as client:
        admin, reader, other = (
            account(stack, client, f"files-{name}@library.test", role)
            for name, role in (("admin", "admin"), ("reader", "reader"), ("other", "reader"))
        )
        book = client.post(f"{API}/books", {"title": "With a cover"}, headers=admin).json()["id"]
        picture = io.BytesIO()
        Image.new("RGB", (900, 900), "teal").save(picture, "PNG")
        sent = client.post(f"{API}/uploads?kind=cover&book_id={book}", None, headers=admin, content=picture.getvalue())
        assert sent.status_code == 201, sent.text
        told = client.post(
            f"{API}/uploads?kind=document&file_name=Letter", None, headers=reader, content=samples.PDF
        ).json()
        folder = stack.folder / "volumes" / "data" / "uploads" / "uploads" / told["id"]
        (file,) = folder.iterdir()
        yield Given(reader, other, f"{API}/uploads/{told['id']}/content", f"{API}/books/{book}/cover", file)


def sent_by_the_proxy(stack: Stack, agent: str) -> list[tuple[str, int]]:
    """Of the files that somebody got: status and bytes of those that came out of the proxy's folder."""
    lines = [json.loads(line) for line in stack.running["nginx"].log.read_text().splitlines() if f'"{agent}"' in line]
    return [(line["status"], int(line["bytes"])) for line in lines if line["path"].startswith("/_files/uploads/")]


def test_a_document_and_a_cover_come_out_of_the_proxys_folder(stack: Stack, outside: Client, given: Given) -> None:
    agent = {"User-Agent": "files-whole"}
    document = outside.get(given.document, headers=given.reader | agent)
    assert (document.status_code, document.content) == (200, samples.PDF)
    assert document.headers["content-disposition"] == "attachment; filename*=UTF-8''Letter.pdf"
    cover = outside.get(given.cover, headers=agent)
    with Image.open(io.BytesIO(cover.content)) as picture:
        assert (picture.format, picture.width) == ("WEBP", 600)
    seen = sent_by_the_proxy(stack, "files-whole")
    assert seen == [("200", len(samples.PDF)), ("200", len(cover.content))]
    has = outside.get(given.cover, headers={"If-None-Match": cover.headers["etag"]})
    assert (has.status_code, has.content) == (304, b"")
    evidence.keep("S8-proxy", "files", sent_by_the_proxy=seen)


@pytest.mark.parametrize("what", ["document", "cover"])
def test_a_files_headers_are_the_services_each_once(stack: Stack, outside: Client, given: Given, what: str) -> None:
    path = str(getattr(given, what))
    behind = f"http://{stack.running['api-1'].address}:8000{path}"
    forwarded = {"Host": HOST, "X-Forwarded-For": GATEWAY, "X-Forwarded-Proto": "https"}
    from_the_service = httpx2.get(behind, headers=given.reader | forwarded)
    through = outside.get(path, headers=given.reader)
    assert through.content == from_the_service.content
    told = {name: value for name, value in through.headers.multi_items() if name not in OWN}
    assert told == {name: value for name, value in from_the_service.headers.multi_items() if name not in OWN}
    assert len(told) == len([name for name, _ in through.headers.multi_items() if name not in OWN])
    assert "sandbox" in told["content-security-policy"]
    assert told["x-content-type-options"] == "nosniff"


def test_a_file_comes_in_parts(outside: Client, given: Given) -> None:
    def part(asked: str) -> tuple[int, bytes]:
        answer = outside.get(given.document, headers=given.reader | {"Range": asked})
        return answer.status_code, answer.content

    assert part("bytes=0-3") == (206, samples.PDF[:4])
    assert part("bytes=-5") == (206, samples.PDF[-5:])
    assert part(f"bytes={len(samples.PDF)}-")[0] == 416


@pytest.mark.parametrize("path", ["{file}", "", "../erasures/x", "%2e%2e/x", "uploads/../../secret_key"])
def test_nobody_reaches_the_proxys_folder_by_its_path(stack: Stack, outside: Client, given: Given, path: str) -> None:
    del outside
    name = f"{given.file.parent.name}/{given.file.name}"
    url = f"https://{HOST}:8443/_files/uploads/{path.format(file=name)}"
    asked = ["curl", "-sk", "--path-as-is", "--resolve", f"{HOST}:8443:{stack.running['nginx'].address}"]
    done = subprocess.run(
        [*asked, "-w", "%{http_code}", "-o", "/dev/null", url], capture_output=True, text=True, check=True
    )
    assert done.stdout == "404"


def test_whoever_may_not_have_it_gets_nothing(stack: Stack, outside: Client, given: Given) -> None:
    agent = {"User-Agent": "files-refused", "X-Accel-Redirect": given.document, "X-Sendfile-Type": "X-Accel-Redirect"}
    for who, status, code in ((given.other, 404, "upload_not_found"), ({}, 401, "not_signed_in")):
        refused = outside.get(given.document, headers=who | agent)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert sent_by_the_proxy(stack, "files-refused") == []


def test_what_the_proxy_cannot_read_the_service_sends_itself(stack: Stack, outside: Client, given: Given) -> None:
    given.file.chmod(0o600)
    try:
        got = outside.get(given.document, headers=given.reader | {"User-Agent": "files-unread"})
        assert (got.status_code, got.content) == (200, samples.PDF)
        assert len(got.headers.get_list("content-security-policy")) == 1
    finally:
        given.file.chmod(0o644)
    hidden = given.file.with_suffix(".away")
    given.file.rename(hidden)
    try:
        gone = outside.get(given.document, headers=given.reader)
        assert (gone.status_code, gone.json()["code"]) == (404, "file_missing")
    finally:
        hidden.rename(given.file)
    assert stack.running["nginx"].run("/bin/sh", "-c", "echo x >/var/lib/library/uploads/x").returncode != 0
