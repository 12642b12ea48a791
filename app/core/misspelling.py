"""Misspelt settings: an environment name one edit away from a setting is a typo, not somebody else's business."""

import difflib
from collections.abc import Collection
from typing import Final

GUARDED_NAME_LETTERS: Final = 8


def meant_by(name: str, known: Collection[str]) -> str | None:
    """The setting of eight letters or more from which `name` is one edit away, if there is one (product.md §1)."""
    if name in known:
        return None
    for setting in difflib.get_close_matches(name, known, n=3, cutoff=0.8):
        letters = sum(character.isalpha() for character in setting)
        if letters >= GUARDED_NAME_LETTERS and is_one_edit_apart(name, setting):
            return setting
    return None


def is_one_edit_apart(left: str, right: str) -> bool:
    """Whether one insertion, deletion, replacement or swap of neighbours turns one word into the other."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    rest_left, rest_right = left[start:], right[start:]
    return (
        rest_left[1:] == rest_right[1:]
        or rest_left[1:] == rest_right
        or rest_left == rest_right[1:]
        or (rest_left[:2] == rest_right[:2][::-1] and rest_left[2:] == rest_right[2:])
    )
