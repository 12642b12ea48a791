"""The optional firewall: how many of the recorded attacks it stops, and that it takes no title for one of them."""

import http.client
import json
import lzma
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlencode

import pymarc
import pytest

from tests import evidence
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.firewall import answer, standing

SEED = 4
STOPPED = {400, 403}
FLOOR = {1: 0.80, 2: 0.97}
ATTACKS = None if IS_FULL else 400
TITLES = None if IS_FULL else 250
# Each was stopped before the rules were tuned.
ONCE_STOPPED = (
    "Sed & awk pocket reference", "Using XHTML", "1812--Napoleon's invasion of Russia",
    'I go a-marketing; by Henrietta Sowle ("Henriette")',
    "Treatment of benign prostatic hyperplasia / K. Koshiba ... [et al.] (eds.).", "Jyoti Basu, life & time",
    "La genèse du MERCOSUD : influence de l'Union européenne et insertion", "Tales ; More tales of the yesteryears",
    "A Quaker experiment in government; history of Quaker government", "Robert'); DROP TABLE Students;--",
)  # fmt: skip


@pytest.mark.parametrize("level", FLOOR)
def test_recorded_attacks_are_stopped(tmp_path: Path, shared: Path, level: int) -> None:
    lines = (shared / "data" / "attacks" / "crs_v334_tests.jsonl").read_text(encoding="utf-8").splitlines()
    attacks = [row["input"] for row in map(json.loads, lines) if row["kind"] == "attack"]
    chosen = random.Random(SEED).sample(attacks, ATTACKS or len(attacks))
    with standing(tmp_path / "proxy", level=level) as port:
        statuses = Counter(answer(port, request) for request in chosen)
    share = round(sum(statuses[status] for status in STOPPED) / len(chosen), 3)
    evidence.keep("S4-waf", f"level-{level}", value=share, limit=FLOOR[level], size=len(chosen), seed=SEED)
    assert share >= FLOOR[level], statuses


def test_no_title_of_the_catalogue_is_taken_for_an_attack(tmp_path: Path, shared: Path) -> None:
    titles = list(_titles(shared))
    chosen = [*ONCE_STOPPED, *random.Random(SEED).sample(titles, TITLES or len(titles))]
    json_type, form_type = "application/json", "application/x-www-form-urlencoded"
    stopped = []
    with standing(tmp_path / "proxy") as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for title in chosen:
            record = json.dumps({"title": title, "contributors": [{"name": title[:200]}]})
            for method, path, body, kind in (
                ("GET", f"/api/v1/books?{urlencode({'q': title})}", None, ""),
                ("POST", "/api/v1/books", record, json_type),
                ("POST", "/cataloguing/new", urlencode({"title": title}), form_type),
            ):
                headers = {"Host": "library.test", "User-Agent": "Mozilla/5.0", "Accept": "*/*"}
                connection.request(method, path, body, headers | ({"Content-Type": kind} if kind else {}))
                reply = connection.getresponse()
                reply.read()
                if reply.status in STOPPED:
                    stopped.append(f"{method} {path[:20]} {reply.status}: {title}")
        connection.close()
    evidence.keep("S4-waf", "titles", value=len(stopped), limit=0, size=3 * len(chosen), seed=SEED)
    assert not stopped


def test_signing_in_is_looked_at_more_strictly_than_the_catalogue(tmp_path: Path) -> None:
    headers = {"Host": "library.test", "User-Agent": "Mozilla/5.0", "Accept": "*/*"}
    with standing(tmp_path / "proxy") as port:
        assert answer(port, {"uri": "/api/v1/books?x=/bin/c?t+/etc/p?sswd", "headers": headers}) == 204
        for path in ("/api/v1/auth/me", "/login", "/audit", "/api/v1/policies"):
            assert answer(port, {"uri": f"{path}?x=/bin/c?t+/etc/p?sswd", "headers": headers}) == 403, path
        # A password is nobody's business.
        body = json.dumps({"email": "reader@library.test", "password": "' OR 1=1; DROP TABLE users;-- /bin/c?t"})
        typed = headers | {"Content-Type": "application/json"}
        assert answer(port, {"method": "POST", "uri": "/api/v1/auth/login", "data": body, "headers": typed}) == 204


def _titles(shared: Path) -> Iterator[str]:
    with lzma.open(shared / "data" / "loc_sample.mrc.xz") as file:
        for record in pymarc.MARCReader(cast("BinaryIO", file), to_unicode=True, permissive=True):
            field = record.get("245") if record else None
            text = " ".join(field.get_subfields("a", "b", "c")).strip() if field else ""
            if text and len(text) < 1_000:
                yield text
