"""The rulebook: of all policies that match, the most specific decides, and it can say why."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policies.rules import BUILT_IN, Case, Outcome, Rulebook, Terms

CATEGORIES, ITEM_TYPES, BRANCHES = ("adult", "child", "student"), ("book", "dvd"), ("main", "river")
ELSEWHERE = ("stranger", "map", "hill")
CASES: list[Case] = list(product((*CATEGORIES, None), (*ITEM_TYPES, None), (*BRANCHES, None)))
FULL_CASES = list(
    product((*CATEGORIES, ELSEWHERE[0]), (*ITEM_TYPES, ELSEWHERE[1]), (*BRANCHES, ELSEWHERE[2]))
)  # also categories, item types and branches that no policy names


@st.composite
def rulebooks(draw: st.DrawFn) -> Rulebook:
    cases = draw(st.lists(st.sampled_from(CASES), unique=True, max_size=12))
    loan_days = draw(st.lists(st.sampled_from((0, 14, 28)), min_size=len(cases), max_size=len(cases)))
    return Rulebook(
        {
            case: replace(BUILT_IN, policy_id=number, loan_days=days)
            for number, (case, days) in enumerate(zip(cases, loan_days, strict=True), 1)
        }
    )


def decides(rules: Rulebook, case: tuple[str, str, str]) -> Terms:
    """The definition, word for word: of those that match, the one with the highest sum."""
    best, best_score = BUILT_IN, -1
    for known, terms in rules.by_case.items():
        if all(theirs in {None, ours} for theirs, ours in zip(known, case, strict=True)):
            score = 4 * (known[0] is not None) + 2 * (known[1] is not None) + (known[2] is not None)
            assert score != best_score, "two policies for one case"
            if score > best_score:
                best, best_score = terms, score
    return best


def named(case: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("category", "item_type", "branch"), case, strict=True))


@given(rulebooks())
def test_the_most_specific_policy_decides_every_case(rules: Rulebook) -> None:
    for case in FULL_CASES:
        assert rules.terms(**named(case)) == decides(rules, case), case
        assert rules.may_borrow(**named(case)) is (decides(rules, case).loan_days > 0)


@given(rulebooks())
def test_those_who_may_borrow_are_told_by_few_categories_and_a_default(rules: Rulebook) -> None:
    for item_type, branch in product((*ITEM_TYPES, ELSEWHERE[1]), (*BRANCHES, ELSEWHERE[2])):
        different, default = rules.borrowers(item_type=item_type, branch=branch)
        for category in (*CATEGORIES, "stranger", "nobody-names-this"):
            told = default is not (category in different)
            assert told is rules.may_borrow(category=category, item_type=item_type, branch=branch), category
        assert different <= set(CATEGORIES)


@given(rulebooks(), st.sampled_from(FULL_CASES))
def test_an_explanation_names_every_policy_once_and_the_one_that_decides_first(
    rules: Rulebook, case: tuple[str, str, str]
) -> None:
    told = rules.explain(**named(case))
    assert sorted(each.policy_id or 0 for each in told) == list(range(len(rules.by_case) + 1))
    assert [each.policy_id for each in told if each.outcome is Outcome.DECIDES] == [
        rules.terms(**named(case)).policy_id
    ]
    assert told[0].outcome is Outcome.DECIDES
    order = [each.outcome for each in told]
    assert order == sorted(order, key=list(Outcome).index)
    for each in told:
        matches = all(theirs in {None, ours} for theirs, ours in zip(each.case, case, strict=True))
        assert (each.outcome is not Outcome.OTHER_CASE) is matches
        assert each.because.endswith(".")


def test_an_explanation_reads_like_a_sentence() -> None:
    def terms(number: int) -> Terms:
        return replace(BUILT_IN, policy_id=number)

    rules = Rulebook(
        {
            (None, None, None): terms(1),
            (None, "dvd", "main"): terms(2),
            ("student", None, None): terms(3),
            ("adult", "dvd", None): terms(4),
            ("child", "book", "river"): terms(5),
        }
    )
    told = [
        (each.policy_id, each.outcome, each.because)
        for each in rules.explain(category="student", item_type="dvd", branch="main")
    ]
    assert told == [
        (3, "decides", "It matches by category; no policy that matches counts more."),
        (2, "outranked", "It matches by item type and branch; policy 3 matches by category, which counts more."),
        (1, "outranked", "It matches by being for every case; policy 3 matches by category, which counts more."),
        (None, "outranked", "The built-in terms decide only where no policy matches; policy 3 does."),
        (4, "other_case", "It is for the category adult (here it is student)."),
        (
            5,
            "other_case",
            (
                "It is for the category child (here it is student), the item type book (here it is dvd) and"
                " the branch river (here it is main)."
            ),
        ),
    ]
    alone = Rulebook({}).explain(category="student", item_type="dvd", branch="main")
    assert [each.because for each in alone] == ["No policy matches, so the built-in terms decide."]


def test_without_a_policy_the_built_in_terms_decide() -> None:
    terms = Rulebook({}).terms(category="adult", item_type="book", branch="main")
    assert terms == Terms(
        policy_id=None, loan_days=28, renewals=2, loan_limit=20, booking_limit=10, pickup_days=7,
        fine_per_day_minor=0, fine_cap_minor=0, lost_fee_minor=0, minimum_loan_days=7,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("per_day", "cap", "late_days", "fine"),
    [(10, 100, 3, 30), (10, 100, 10, 100), (10, 100, 11, 100), (10, 0, 365, 3_650), (0, 100, 9, 0), (10, 100, -4, 0)],
)
def test_a_fine_grows_by_the_day_up_to_its_cap(per_day: int, cap: int, late_days: int, fine: int) -> None:
    terms = replace(BUILT_IN, fine_per_day_minor=per_day, fine_cap_minor=cap)
    assert terms.fine_minor(late_days) == fine
