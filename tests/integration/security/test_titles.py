"""Three hundred real, awkward titles and names, and the worst that we could think of: all are accepted as they are."""

import lzma
from pathlib import Path
from typing import BinaryIO, cast

import pymarc
import pytest

from app.core.config import Settings
from tests.conftest import Person

pytestmark = pytest.mark.anyio

WANTED = 300
OWN = (
    "O'Reilly", "<html> for beginners", "SELECT", "Robert'); DROP TABLE Students;--", "C++", "C#", "100%", "1984",
    "null", "None", "undefined", "true", "NaN", "-", "?", "...", "=", "@", "&c.", "A & B", '"Quoted"', "‘Single’",
    "«Война и миръ»", "Ёлка", "Straße", "İstanbul", "Þórr", "Ǻngström", "東京", "한국어", "עברית", "العربية", "ไทย",
    "हिन्दी",
    "e = mc²", "x < y > z", "{{ mustache }}", "${shell}", "%s %d", "../../etc/passwd", "file:///dev/null", "a/b\\c",
    "javascript:", "data:text/html,hi", "Null, Christopher", "d'Artagnan", "Ó Súilleabháin", "Nguyễn Văn A",
    "van 't Hoff",
    "X Æ A-12", "Jr., Sammy Davis", "MacDonald—Smith", "🐛 and 🦋", "Zero\u200bwidth", "Soft\u00adhyphen",
    "tab-free title", "I",
    "WHERE 1=1", "sleep(5)", "$gt", "__proto__", "Content-Type: text/html", "</script>", "<!--", "]]>", "<?xml?>",
)  # fmt: skip


def _awkward(shared: Path) -> list[str]:
    """The titles of the sample that hold the rarest characters, then the longest."""
    titles: dict[str, int] = {}
    with lzma.open(shared / "data" / "loc_sample.mrc.xz") as file:
        for record in pymarc.MARCReader(cast("BinaryIO", file), to_unicode=True, permissive=True):
            field = record.get("245") if record else None
            text = " ".join(field.get_subfields("a", "b", "c")).strip() if field else ""
            odd = sum(not (letter.isascii() and (letter.isalnum() or letter in " .,:/")) for letter in text)
            if odd >= 4 and len(text) <= 2_000:
                titles[text] = odd
    return sorted(titles, key=lambda title: (-titles[title], title))[:WANTED]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


async def test_every_awkward_title_and_name_is_accepted_as_it_is(librarian: Person, shared: Path) -> None:
    real = _awkward(shared)
    assert len(real) == WANTED
    for text in (*OWN, *real):
        body = {"title": text, "contributors": [{"name": text[:200].strip()}]}
        made = await librarian.client.post("/api/v1/books", json=body)
        assert made.status_code == 201, (text, made.text)
        book = (await librarian.client.get(f"/api/v1/books/{made.json()['id']}")).json()
        assert book["title"] == text
        assert book["contributors"][0]["name"] == text[:200].strip()
