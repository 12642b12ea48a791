"""The rulebook: which policy decides a case, and why; pure, built from all policies at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

Case = tuple[str | None, str | None, str | None]
"""Category, item type and branch; in a policy's case None stands for any."""

_DIMENSIONS: Final = ("category", "item type", "branch")
_WEIGHTS: Final = (4, 2, 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a reader may do with a copy. Money in minor units; `policy_id` is None for the built-in terms.

    `loan_days` 0: not for loan. `fine_cap_minor` 0: no cap. A recall shortens no loan below `minimum_loan_days`.
    """

    policy_id: int | None
    loan_days: int
    renewals: int
    loan_limit: int
    booking_limit: int
    pickup_days: int
    fine_per_day_minor: int
    fine_cap_minor: int
    lost_fee_minor: int
    minimum_loan_days: int

    def fine_minor(self, late_days: int) -> int:
        """What being late by so many open days costs."""
        fine = max(late_days, 0) * self.fine_per_day_minor
        return min(fine, self.fine_cap_minor) if self.fine_cap_minor else fine


BUILT_IN: Final = Terms(
    policy_id=None,
    loan_days=28,
    renewals=2,
    loan_limit=20,
    booking_limit=10,
    pickup_days=7,
    fine_per_day_minor=0,
    fine_cap_minor=0,
    lost_fee_minor=0,
    minimum_loan_days=7,
)
TERMS: Final = tuple(field.name for field in fields(Terms) if field.name != "policy_id")
"""The names of the terms, which are those of a policy's columns."""


class Outcome(StrEnum):
    """How a policy fared: it decides, it matches but another counts more, or it speaks of another case."""

    DECIDES = "decides"
    OUTRANKED = "outranked"
    OTHER_CASE = "other_case"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy (None: the built-in terms) looked at for a case, with a sentence that says why it won or lost."""

    policy_id: int | None
    case: Case
    outcome: Outcome
    because: str


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All policies by their case. The most specific that matches decides, in a total order: naming the category counts
    4, the item type 2, the branch 1; no two policies have one case. Where none matches, the built-in terms do.
    """

    by_case: Mapping[Case, Terms]

    def terms(self, *, category: str, item_type: str, branch: str) -> Terms:
        """Cost: at most eight look-ups, however many policies there are."""
        cases = _from_most_specific((category, item_type, branch))
        return next((self.by_case[case] for case in cases if case in self.by_case), BUILT_IN)

    def may_borrow(self, *, category: str, item_type: str, branch: str) -> bool:
        return self.terms(category=category, item_type=item_type, branch=branch).loan_days > 0

    def borrowers(self, *, item_type: str, branch: str) -> tuple[frozenset[str], bool]:
        """Who may borrow such a copy: the categories whose answer differs from the default, and the default.

        The default is the answer for every category that no policy names.
        """
        named = {category for category, _, _ in self.by_case if category is not None}
        # No category is the empty word, so this one is surely not named.
        default = self.may_borrow(category="", item_type=item_type, branch=branch)
        different = {
            category
            for category in named
            if self.may_borrow(category=category, item_type=item_type, branch=branch) is not default
        }
        return frozenset(different), default

    def explain(self, *, category: str, item_type: str, branch: str) -> tuple[Candidate, ...]:
        """Every policy: the one that decides, those that it outranks (the built-in terms last), then those for other
        cases, the nearest first.
        """
        case = (category, item_type, branch)
        matching = [known for known in _from_most_specific(case) if known in self.by_case]
        others = sorted(self.by_case.keys() - set(matching), key=lambda other: _distance(other, case))
        return (
            *(self._judge(known, matching[0]) for known in matching),
            self._judge_built_in(matching),
            *(
                Candidate(self.by_case[other].policy_id, other, Outcome.OTHER_CASE, _difference(other, case))
                for other in others
            ),
        )

    def _judge(self, known: Case, best: Case) -> Candidate:
        policy_id, winner = self.by_case[known].policy_id, self.by_case[best].policy_id
        if known == best:
            because = f"It matches by {_reach(known)}; no policy that matches counts more."
            return Candidate(policy_id, known, Outcome.DECIDES, because)
        because = f"It matches by {_reach(known)}; policy {winner} matches by {_reach(best)}, which counts more."
        return Candidate(policy_id, known, Outcome.OUTRANKED, because)

    def _judge_built_in(self, matching: list[Case]) -> Candidate:
        if not matching:
            because = "No policy matches, so the built-in terms decide."
            return Candidate(None, (None, None, None), Outcome.DECIDES, because)
        winner = self.by_case[matching[0]].policy_id
        because = f"The built-in terms decide only where no policy matches; policy {winner} does."
        return Candidate(None, (None, None, None), Outcome.OUTRANKED, because)


def _from_most_specific(case: Case) -> Iterator[Case]:
    """The eight cases that cover this one, in the order in which they count."""
    category, item_type, branch = case
    for category_or_any in (category, None):
        for item_type_or_any in (item_type, None):
            for branch_or_any in (branch, None):
                yield category_or_any, item_type_or_any, branch_or_any


def _distance(other: Case, case: Case) -> tuple[int, int, tuple[str, ...]]:
    """Sorts by how many parts differ, then by what counts more, then by name."""
    differing = sum(theirs not in {None, ours} for theirs, ours in zip(other, case, strict=True))
    weight = sum(weight for part, weight in zip(other, _WEIGHTS, strict=True) if part is not None)
    return differing, -weight, tuple(part or "" for part in other)


def _reach(case: Case) -> str:
    named = [dimension for dimension, part in zip(_DIMENSIONS, case, strict=True) if part is not None]
    return _and(named) if named else "being for every case"


def _difference(other: Case, case: Case) -> str:
    differences = [
        f"the {dimension} {theirs} (here it is {ours})"
        for dimension, theirs, ours in zip(_DIMENSIONS, other, case, strict=True)
        if theirs not in {None, ours}
    ]
    return f"It is for {_and(differences)}."


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
