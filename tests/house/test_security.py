"""The documents about security name tests and parts that exist, and count right."""

import re

from tests.house.source import ROOT

SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
REQUIREMENTS = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (V\d+\.\d+\.\d+) \| ([123]) \| (.+?) \| (.+?) \|")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(SECURITY + REQUIREMENTS)
    assert len(named) > 150
    missing = sorted(
        {
            f"{path}::{name}"
            for path, name in named
            if not (ROOT / path).exists() or not re.search(rf"def {name}\b", (ROOT / path).read_text(encoding="utf-8"))
        }
    )
    assert missing == [], "these tests were renamed or removed; name what shows the control now"


def test_every_requirement_is_bound_to_a_test_or_to_a_part_that_exists() -> None:
    rows = ROW.findall(REQUIREMENTS)
    assert len(rows) == len({row for row, *_ in rows}) >= 200
    for row, _, control, shown_by in rows:
        assert control.strip(), row
        if part := re.fullmatch(r"security\.md § (.+)", shown_by):
            assert f"\n## {part[1]}\n" in SECURITY, f"{row}: security.md has no part '{part[1]}'"
        else:
            assert NAMED.fullmatch(shown_by), row


def test_the_count_of_bound_requirements_is_true() -> None:
    rows = ROW.findall(REQUIREMENTS)
    said = re.search(r"Bound: (\d+) of (\d+) that apply \((.+)\)", REQUIREMENTS)
    assert said
    assert int(said[1]) == len(rows)
    for level, bound in re.findall(r"level (\d): (\d+) of", said[3]):
        assert int(bound) == sum(found == level for _, found, *_ in rows)
    waiting = re.findall(r"V\d+\.\d+\.\d+", REQUIREMENTS.partition("## Not bound yet")[2])
    assert len(rows) + len(waiting) == int(said[2])
    assert not set(waiting) & {row for row, *_ in rows}


def test_each_of_the_ten_risks_has_a_control_and_a_test() -> None:
    for number in range(1, 11):
        row = next((line for line in SECURITY.splitlines() if line.startswith(f"| API{number} ")), "")
        assert NAMED.search(row), f"API{number}"
