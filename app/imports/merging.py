"""Updating field by field: what upstream changed is taken, what was edited here is kept."""

from dataclasses import dataclass, field

from app.books.schemas import BookCreate
from app.core.schemas import JsonObject


@dataclass(slots=True)
class Merge:
    """The fields to write, and those that upstream changed but were edited here."""

    changes: JsonObject = field(default_factory=dict)
    kept_local: list[str] = field(default_factory=list)


def merge(*, before: BookCreate, upstream: BookCreate, here: BookCreate, overwrites: bool) -> Merge:
    """Three-way by field: `before` is upstream as it was last imported, `here` the book as it stands.

    Suppressing is the library's own affair and never upstream's.
    """
    merged = Merge()
    old, new, local = before.model_dump(), upstream.model_dump(), here.model_dump()
    for name in BookCreate.model_fields:
        if name == "suppressed" or local[name] == new[name]:
            continue
        if overwrites or local[name] == old[name]:
            merged.changes[name] = new[name]
        elif new[name] != old[name]:
            merged.kept_local.append(name)
    return merged
