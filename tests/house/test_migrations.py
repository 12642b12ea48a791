"""The migrations: one numbered line of them, up and down on both databases, saying all that the models say."""

import ast
import re

import pytest

from app.core import migrations, revision
from app.core.config import Settings
from app.core.db import Database
from tests.house.source import modules

HISTORY = sorted(module.path for module in modules("alembic") if "/versions/" in module.path)


def test_revisions_are_numbered_in_the_order_in_which_they_run() -> None:
    assert HISTORY
    previous = None
    for path in HISTORY:
        number = path.rpartition("/")[2].partition("_")[0]
        assert re.fullmatch(r"\d{4}", number), f"{path}: name it NNNN_what_it_does.py"
        values = _constants(path)
        assert values["revision"] == number, f"{path}: its revision must be its number"
        assert values["down_revision"] == previous, f"{path}: it must revise {previous}, the file before it"
        previous = number
    assert revision.newest() == previous


def test_every_migration_can_be_undone() -> None:
    for module in modules("alembic"):
        if "/versions/" in module.path:
            downgrade = next(function for function in module.functions() if function.name == "downgrade")
            assert not isinstance(downgrade.body[-1], ast.Pass), f"{module.path}: downgrade() does nothing"


@pytest.mark.anyio
async def test_the_history_runs_up_and_down_and_says_what_the_models_say(
    settings: Settings, database: Database
) -> None:
    del settings
    await migrations.check(database)
    await migrations.downgrade(database, "base")
    assert await revision.current(database) is None
    await migrations.upgrade(database)
    await migrations.check(database)
    assert await revision.current(database) == revision.newest()


def _constants(path: str) -> dict[str, object]:
    tree = next(module.tree for module in modules("alembic") if module.path == path)
    return {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
