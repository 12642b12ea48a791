"""Names: headings of persons, bodies and meetings, and the part that each had in the book."""

from typing import Final

from app.imports.formats.punctuation import joined, plain
from app.imports.formats.slicing import Field

MAX_NAME: Final = 2_000
_ANALYTICAL: Final = "2"


def heading(field: Field, *, with_title: bool = False) -> str:
    """The name as a catalogue files it: `Lane, James Henry, 1814-1866`; `Illinois. Bureau of Water`."""
    codes = _PERSON if field.tag.endswith("00") else _MEETING if field.tag.endswith("11") else _BODY
    return joined(field.get_subfields(*codes, *("tnp" if with_title else "")))[:MAX_NAME]


def contributor(field: Field) -> dict[str, str] | None:
    """The person or body and the role; None for an entry that only points to another work."""
    if field.get("t") and field.tag.startswith("7") and field.indicator2 != _ANALYTICAL:
        return None
    name = heading(field)
    return {"name": name, "role": _role(field)} if name else None


def _role(field: Field) -> str:
    for code in field.get_subfields("4"):
        if code.strip().lower()[-3:] in _RELATORS:
            return _RELATORS[code.strip().lower()[-3:]]
    # $e is a subordinate unit of a meeting; its relator is $j.
    for term in field.get_subfields("j" if field.tag.endswith("11") else "e"):
        word = plain(term).lower().rstrip(".")
        if word:
            return _TERMS.get(word, word)[:200]
    is_author = field.tag.startswith("1") or (field.get("t") and field.indicator2 == _ANALYTICAL)
    return "author" if is_author else "contributor"


_PERSON: Final = "abcdq"
_BODY: Final = "abcdng"
_MEETING: Final = "aqendc"
# Source: MARC Code List for Relators; the abbreviations are those of older cataloguing rules.
_RELATORS: Final = {
    "aut": "author", "edt": "editor", "trl": "translator", "ill": "illustrator", "com": "compiler", "pbl": "publisher",
    "prt": "printer", "bdd": "binding designer", "bnd": "binder", "prf": "performer", "drt": "director",
    "pht": "photographer", "aui": "author of introduction", "aft": "author of afterword", "cmp": "composer",
    "cre": "creator", "ctb": "contributor", "edc": "editor", "fmo": "former owner", "egr": "engraver",
    "ltg": "lithographer", "nrt": "narrator", "ann": "annotator", "adp": "adapter", "isb": "issuing body",
    "art": "artist", "cov": "cover designer", "ths": "thesis advisor", "dgg": "degree granting institution",
    "spn": "sponsor", "ctg": "cartographer", "hnr": "honouree", "dte": "dedicatee", "ivr": "interviewer",
    "ive": "interviewee", "oth": "contributor", "lbt": "librettist", "lyr": "lyricist", "red": "editor",
}  # fmt: skip
_TERMS: Final = {
    "ed": "editor", "ed. lit": "editor", "edt": "editor", "eds": "editor", "joint ed": "editor", "jt. ed": "editor",
    "joint editor": "editor", "tr": "translator", "trans": "translator", "joint tr": "translator",
    "ed. and tr": "editor and translator", "joint ed. and tr": "editor and translator",
    "comp. and tr": "compiler and translator", "joint comp. and tr": "compiler and translator",
    "ill": "illustrator", "illus": "illustrator", "comp": "compiler", "joint comp": "compiler",
    "joint author": "author", "jt. author": "author", "pub": "publisher", "engr": "engraver", "lith": "lithographer",
    "photogr": "photographer", "photog": "photographer", "bdd": "binding designer", "dir": "director",
    "ред": "editor", "сост": "compiler", "пер": "translator", "худож": "illustrator", "авт": "author",
}  # fmt: skip
