"""From what was typed to what a schema takes, or to sentences beside the fields."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from app.web.words import Words

Schema = TypeVar("Schema", bound=BaseModel)

_SENTENCES: Final = {
    "missing": "Please fill this in.",
    "string_too_short": "This is too short: at least {min_length} characters.",
    "string_too_long": "This is too long: at most {max_length} characters.",
    "string_pattern_mismatch": "Letters, digits, - and _ alone are possible here.",
    "int_parsing": "This must be a whole number.",
    "greater_than_equal": "This must be {ge} or more.",
    "less_than_equal": "This must be {le} or less.",
    "date_from_datetime_parsing": "This must be a day such as 2026-12-31.",
    "literal_error": "Choose one of the list.",
    "enum": "Choose one of the list.",
    "bool_parsing": "Choose one of the list.",
}


class Mistakes(Exception):  # not a failure: the form is shown again with these
    """By field, what is wrong with what was typed."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__()
        self.errors = dict(errors)


def read(schema: type[Schema], values: Mapping[str, Any], words: Words) -> Schema:
    """What was typed, as the schema has it; fields left empty count as not sent, unless they are given as None.

    Raises:
        Mistakes.
    """
    given = {name: value for name, value in values.items() if value != ""}
    try:
        return schema.model_validate(given, strict=False)
    except ValidationError as error:
        raise Mistakes({_field(item["loc"]): _sentence(dict(item), words) for item in error.errors()}) from None


def _field(place: tuple[int | str, ...]) -> str:
    return str(place[0]) if place else ""


def _sentence(item: dict[str, Any], words: Words) -> str:
    context = item.get("ctx", {})
    if item["type"] == "string_too_short" and context.get("min_length") == 1:
        return str(words.say(_SENTENCES["missing"]))
    if known := _SENTENCES.get(item["type"]):
        return str(words.say(known, **context))
    return str(words.say(str(item["msg"]).removeprefix("Value error, ").capitalize()))
