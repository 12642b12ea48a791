"""Marks in titles: what answers the query, and never anything but the title's own text."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.marking import marked


@pytest.mark.parametrize(
    ("title", "query", "expected"),
    [
        ("Treasure Island", "island", "Treasure <mark>Island</mark>"),
        ("The children’s books", "child", "The <mark>children’s</mark> books"),
        ("Loving and loved", "loves", "<mark>Loving</mark> and <mark>loved</mark>"),
        ("Ёлки и ёжики", "елка", "<mark>Ёлки</mark> и ёжики"),
        ("Café society", "cafe", "<mark>Café</mark> society"),
        ("The end of the affair", "the end", "The <mark>end</mark> of the affair"),
        ("Island life", '"isl"', "Island life"),
        ("<b>Bold</b> & brave", "bold", "&lt;b&gt;<mark>Bold</mark>&lt;/b&gt; &amp; brave"),
        ("Nothing of it", "absent", "Nothing of it"),
        ("No question", None, "No question"),
        ("Signs", "!?", "Signs"),
    ],
)
def test_the_words_asked_are_marked_in_any_form(title: str, query: str | None, expected: str) -> None:
    assert str(marked(title, query)) == expected


@given(st.text(max_size=80), st.text(max_size=20))
def test_a_marked_title_reads_as_the_title_and_holds_no_other_markup(title: str, query: str) -> None:
    bare = re.sub(r"</?mark>", "", str(marked(title, query)))
    assert "<" not in bare
    assert html.unescape(bare) == title
