"""The analyser: which spellings are one word, and which are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.books.search.analyser import elided, fold, in_cyrillic, runs, stem, words
from app.books.search.asking import read


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Ёлка", "елка"),
        ("ÉTÉ", "été"),
        ("Straße", "STRASSE"),
        ("Łódź", "lodz"),
        ("Søren", "soren"),
        ("Æsop", "aesop"),
        ("ＤＵＮＥ", "dune"),
        ("ﬁnale", "finale"),
        ("O’Brien", "O'Brien"),
        ("Investit︠s︡ionnai︠a︡", "investitsionnaia"),
        ("Baháʼí", "bahai"),
        ("סֵפֶר", "ספר"),
        ("كِتَاب", "كتاب"),
        ("İstanbul", "istanbul"),
        ("Đorđe", "dorde"),
    ],
)
def test_two_spellings_of_one_word_are_equal(left: str, right: str) -> None:
    assert words(left) == words(right)


@pytest.mark.parametrize(("left", "right"), [("йод", "иод"), ("мой", "мои"), ("हिन्दी", "हन्दी")])
def test_letters_that_distinguish_words_are_kept(left: str, right: str) -> None:
    assert words(left) != words(right)


def test_chinese_and_japanese_are_split_into_characters_and_other_words_are_not() -> None:
    assert runs("贵州省 Huangping県2000") == [["贵", "州", "省"], ["huangping"], ["県"], ["2000"]]
    assert words("हिन्दी साहित्य") == ("हिन्दी", "साहित्य")


@pytest.mark.parametrize(
    ("forms", "root"),
    [
        (("library", "libraries"), "librari"),
        (("engineering", "engineer"), "engin"),
        (("политика", "политики", "политикой"), "политик"),
    ],
)
def test_forms_of_one_word_share_a_stem(forms: tuple[str, ...], root: str) -> None:
    assert {stem(form) for form in forms} == {root}


def test_words_behind_an_elided_article_are_found() -> None:
    assert elided("L'histoire de l’été, qu'il, dell'arte") == ["histoire", "ete", "arte"]


@pytest.mark.parametrize(
    ("romanised", "native"),
    [
        ("Investit︠s︡ionnai︠a︡ politika", "инвестиционная политика"),
        ("Bezopasnostʹ", "безопасность"),
        ("Shchedrin, ėkologii︠a︡", "щедрин экология"),
        ("Dostoevskiĭ", "достоевский"),
        ("Windows", ""),
    ],
)
def test_romanised_russian_is_read_back_into_cyrillic(romanised: str, native: str) -> None:
    assert in_cyrillic(romanised) == native


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing_and_no_text_breaks_it(text: str) -> None:
    once = words(text)
    assert words(" ".join(once)) == once
    assert all(word and word == fold(word) for word in once)


@given(st.text(max_size=80))
def test_any_query_can_be_read(text: str) -> None:
    query = read(text)
    assert (query is None) == (words(text) == ())


def test_a_query_knows_phrases_beginnings_and_words_that_narrow_nothing() -> None:
    query = read("the «war and peace» tols*")
    assert query is not None
    assert [(clause.words, clause.is_open, clause.is_quoted) for clause in query.clauses] == [
        (("war", "and", "peace"), False, True),
        (("tols",), True, False),
    ]
    assert query.filed == ("war", "and", "peace", "tols")
    only_common = read("the of")
    assert only_common is not None
    assert [clause.words for clause in only_common.clauses] == [("the",), ("of",)]
