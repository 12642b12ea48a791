"""A fault: a small function that does the harm and undoes it, with what it promises.

A function gets the site (and the load that it is under), returns when the harm is undone, and raises AssertionError
where something beside the load's own answers isn't as promised; what it returns is printed as a remark.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.chaos.load import Load
from tests.chaos.site import Site

Harm = Callable[[Site, Load], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`may_fail` names what may go unanswered while the harm lasts: nothing, writes, or all.

    Afterwards everything goes well again within `within` seconds, without a restart of ours. `is_quick` are those that
    each change has to pass. `lasts` is how long the harm may take at most, itself and what it waits for.
    """

    name: str
    group: str
    harm: Harm
    may_fail: str
    within: float
    is_quick: bool
    lasts: float
    restarts: bool


ALL: Final[list[Fault]] = []


def fault(
    name: str,
    *,
    may_fail: str = "nothing",
    within: float = 1.0,
    is_quick: bool = False,
    lasts: float = 60,
    restarts: bool = False,
) -> Callable[[Harm], Harm]:
    """Put a function among the faults. `restarts`: that ours are restarted is the harm itself."""
    assert may_fail in {"nothing", "writes", "all"}

    def add(harm: Harm) -> Harm:
        group = harm.__module__.rpartition(".")[2]
        ALL.append(Fault(name, group, harm, may_fail, within, is_quick, lasts, restarts))
        return harm

    return add


def chosen(only: str, *, is_full: bool) -> list[Fault]:
    """All of them, the quick ones, or those whose name or group contains one of the words.

    Raises:
        ValueError: none does.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    if not words:
        return [each for each in ALL if is_full or each.is_quick]
    found = [each for each in ALL if any(word in each.name or word == each.group for word in words)]
    if not found:
        raise ValueError(f"No fault is called {only!r}; --list names them.")
    return found
