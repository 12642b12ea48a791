"""The rules about code hold everywhere, and each can tell an offence when it sees one."""

import pytest

from tests.house import rules
from tests.house.source import Module, modules

WHERE: dict[rules.Rule, tuple[str, ...]] = {
    rules.only_db_commits: ("app", "scripts"),
    rules.files_stay_short: ("app", "tests", "benchmarks", "scripts", ".ci"),
    rules.functions_stay_short: ("app", "tests", "benchmarks", "scripts", ".ci"),
    rules.one_layer_of_middleware: ("app",),
    rules.modules_say_what_they_are: ("app", "tests", "benchmarks", "scripts", "alembic", ".ci"),
    rules.imports_stand_on_top: ("app", "benchmarks", "scripts", "tests"),
    rules.suppressions_have_reasons: ("app", "tests", "benchmarks", "scripts", "alembic", ".ci"),
    rules.nothing_is_promised_for_later: ("app", "tests", "benchmarks", "scripts", "alembic", ".ci"),
    rules.tests_are_never_skipped: ("tests",),
    rules.tests_are_named_by_sentences: ("tests",),
}

OFFENCES: tuple[tuple[rules.Rule, str], ...] = (
    (rules.only_db_commits, "async def f(session):\n    await session.commit()\n"),
    (rules.only_db_commits, "async def f(engine):\n    async with engine.begin():\n        pass\n"),
    (rules.files_stay_short, "x = 1\n" * 301),
    (rules.functions_stay_short, "def f():\n" + "    x = 1\n" * 50),
    (rules.one_layer_of_middleware, "from starlette.middleware.base import BaseHTTPMiddleware\n"),
    (rules.one_layer_of_middleware, "api.add_middleware(GZipMiddleware)\n"),
    (rules.one_layer_of_middleware, "api = FastAPI(middleware=[])\n"),
    (rules.one_layer_of_middleware, "@api.middleware('http')\nasync def f(request, call_next): ...\n"),
    (rules.one_layer_of_middleware, "class A:\n    async def __call__(self, scope, receive, send): ...\n"),
    (rules.modules_say_what_they_are, "x = 1\n"),
    (rules.modules_say_what_they_are, '"""No sentence"""\n'),
    (rules.imports_stand_on_top, "def f():\n    import json\n"),
    (rules.imports_stand_on_top, "class A:\n    async def f(self):\n        from json import loads\n"),
    (rules.suppressions_have_reasons, "x = 1  # type: " + "ignore\n"),
    (rules.suppressions_have_reasons, "x = 1  # type: " + "ignore[attr-defined]\n"),
    (rules.suppressions_have_reasons, "x = 1  # no" + "qa: S101\n"),
    (rules.suppressions_have_reasons, "x = 1  # no" + "qa  # because\n"),
    (rules.nothing_is_promised_for_later, "x = 1  # TO" + "DO later\n"),
    (rules.tests_are_never_skipped, "@pytest.mark.skip\ndef test_a(): ...\n"),
    (rules.tests_are_never_skipped, "def test_a():\n    pytest.importorskip('x')\n"),
    (rules.tests_are_named_by_sentences, "def test_books(): ...\n"),
)


@pytest.mark.parametrize("rule", WHERE, ids=lambda rule: rule.__name__)
def test_the_rule_holds_in_every_module(rule: rules.Rule) -> None:
    searched = modules(*WHERE[rule])
    assert searched
    found = [problem for module in searched for problem in rule(module)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "text"), OFFENCES)
def test_the_rule_finds_an_offence(rule: rules.Rule, text: str) -> None:
    assert list(rule(Module.of(text)))


def test_every_rule_has_an_offence_that_it_finds() -> None:
    assert {rule for rule, _ in OFFENCES} == set(WHERE)


def test_a_reasoned_suppression_is_accepted() -> None:
    code = "x = 1  # type: " + "ignore[attr-defined]"
    for text in (f"{code}  # set by the framework\n", f"# set by the framework\n{code}\n"):
        assert list(rules.suppressions_have_reasons(Module.of(text))) == []
