"""docs/privacy.md is true: every table stands in it with its retention, and each job that ends it exists."""

import re
from datetime import timedelta

from app.core.db import Base
from app.idempotency.service import KEPT_HOURS
from app.jobs.registry import JOBS
from app.uploads.service import ORPHAN_AGE
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
ENDING = ("purge_", "sweep_", "hand_over_")


def test_every_table_stands_there_once_with_its_retention() -> None:
    listed = [name for name, *_ in ROW.findall(PAGE)]
    assert sorted(listed) == sorted(Base.metadata.tables), "say in docs/privacy.md what a new table holds of a person"


def test_what_leads_to_an_account_is_never_said_to_be_nobodys() -> None:
    for name, holds, _, ended_by in ROW.findall(PAGE):
        leads = any(key.column.table.name == "users" for key in Base.metadata.tables[name].foreign_keys)
        named = {"subject", "actor"} & set(Base.metadata.tables[name].columns.keys())
        if leads or named:
            assert holds != "nothing", name
            assert ended_by != "nobody", name
        else:
            assert (holds.startswith("nothing")) == (ended_by == "nobody") or f"`{ended_by.strip('`')}`" == ended_by, (
                name
            )


def test_each_job_that_ends_something_is_named_and_each_named_one_runs() -> None:
    named = {job for *_, ended_by in ROW.findall(PAGE) for job in re.findall(r"`(\w+)`", ended_by)} | {"sweep_uploads"}
    ending = {name for name in JOBS if name.startswith(ENDING)}
    assert named == ending, "name the job in docs/privacy.md beside what it ends"


def test_the_periods_are_those_of_the_code() -> None:
    kept = {name: period for name, _, period, _ in ROW.findall(PAGE)}
    assert kept["idempotency_keys"] == f"{KEPT_HOURS} hours"
    assert f"{ORPHAN_AGE // timedelta(hours=1)} hours | `sweep_uploads`" in PAGE
