"""The table of indexes is true: docs/database.md argues each index of the models, and no other."""

import importlib
import pkgutil
import re

import app
from app.core.db import Base
from tests.house.source import ROOT

ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)


def test_every_index_is_argued_in_the_table_and_no_other() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.endswith(".models"):
            importlib.import_module(module.name)
    indexes = {index.name for table in Base.metadata.tables.values() for index in table.indexes}
    argued = dict(ROW.findall((ROOT / "docs" / "database.md").read_text(encoding="utf-8")))
    assert indexes - argued.keys() == set(), "say in docs/database.md what it answers"
    assert argued.keys() - indexes == set(), "no model has it any more"
    assert all(argued.values())
