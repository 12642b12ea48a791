"""Lost-update protection: a change names the versions its author may have read."""

from collections.abc import Callable

from pydantic import BaseModel

from app.core.errors import PreconditionFailed

IfMatch = frozenset[int] | None
"""The versions named by If-Match; None stands for `*`, any version."""


class VersionChanged(PreconditionFailed):
    """Carries the current state as `current` and its ETag."""

    code, detail = "version_changed", "Somebody changed this meanwhile; `current` is how it stands now."


def compare(version: int, if_match: IfMatch, current: Callable[[], BaseModel]) -> None:
    """Refuse unless the row, locked by the caller, still has a version that the author may have read.

    Raises:
        VersionChanged.
    """
    if if_match is not None and version not in if_match:
        raise VersionChanged(headers={"ETag": etag(version)}, current=current().model_dump(mode="json"))


def etag(version: int) -> str:
    return f'"{version}"'
