"""The house's rules about code: each takes a module and yields what breaks the rule, with the line and what to do."""

import ast
import re
from collections.abc import Callable, Iterator

from tests.house.source import Module

Rule = Callable[[Module], Iterator[str]]

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
MIN_TEST_NAME_WORDS = 4
# They import there what only some runs need; a comment beside each import says what that saves.
LAZY_IMPORTERS = {
    "app/core/reporting.py",
    "app/core/tracing.py",
    "app/cli.py",
    "app/commands/serve.py",
    "app/commands/server.py",
    "app/commands/supervisor.py",
}
SKIPPING = {"skip", "skipif", "xfail", "importorskip"}
SUPPRESSION = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma|pylint|ruff:|mypy:|fmt:\s*off|shellcheck)", re.IGNORECASE)
CODED = re.compile(r"# (?:type: ignore\[[\w,\- ]+\]|noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)(?P<reason>  # \S+)?")
PROMISES = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def only_db_commits(module: Module) -> Iterator[str]:
    """A session's, connection's or engine's; a feature's own `begin(session, …)` has arguments."""
    if module.path == "app/core/db.py":
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.args:
            continue
        if node.func.attr in {"commit", "begin"}:
            yield f"{module.path}:{node.lineno} calls .{node.func.attr}(): write inside database.transaction() instead"


def files_stay_short(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{module.path} has {lines} lines, more than {MAX_FILE_LINES}: split it by use case"


def functions_stay_short(module: Module) -> Iterator[str]:
    for function in module.functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield (
                f"{module.path}:{function.lineno} {function.name} has {lines} lines, more than {MAX_FUNCTION_LINES}:"
                " give its steps names"
            )


def one_layer_of_middleware(module: Module) -> Iterator[str]:
    """The shell in app/core/middleware.py is the only ASGI layer; each further one costs every request."""
    remedy = "put it into the shell (app/core/middleware.py), the only ASGI layer"
    for node in ast.walk(module.tree):
        names = {
            getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "arg", None),
            *((alias.name for alias in node.names) if isinstance(node, ast.ImportFrom) else ()),
        }  # fmt: skip
        if names & {"BaseHTTPMiddleware", "add_middleware", "middleware", "user_middleware"}:
            yield f"{module.path}:{getattr(node, 'lineno', 1)} adds a layer of middleware: {remedy}"
        is_layer = (
            isinstance(node, ast.AsyncFunctionDef)
            and node.name == "__call__"
            and [argument.arg for argument in node.args.args][1:] == ["scope", "receive", "send"]
        )
        if is_layer and module.path != "app/core/middleware.py":
            yield f"{module.path}:{getattr(node, 'lineno', 1)} is an ASGI layer of its own: {remedy}"


def modules_say_what_they_are(module: Module) -> Iterator[str]:
    first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
    if not first:
        yield f"{module.path} has no docstring: say in one line what the module is"
    elif not first.endswith((".", ":", "!", "?")):
        yield f"{module.path}: the docstring's first line isn't a sentence of its own"


def imports_stand_on_top(module: Module) -> Iterator[str]:
    if module.path in LAZY_IMPORTERS:
        return
    for function in module.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield (
                    f"{module.path}:{node.lineno} imports inside {function.name}: import on top, or list the file in"
                    " tests/house/rules.py with what it saves"
                )


def suppressions_have_reasons(module: Module) -> Iterator[str]:
    """The reason stands behind the code, or in a comment of its own on the line above."""
    comments = dict(module.comments())
    for line, comment in comments.items():
        coded = CODED.match(comment)
        is_explained_above = line - 1 in comments and not SUPPRESSION.match(comments[line - 1])
        if SUPPRESSION.match(comment) and not (coded and (coded["reason"] or is_explained_above)):
            yield f"{module.path}:{line} {comment!r}: give the code in brackets and, after two spaces, `# the reason`"


def nothing_is_promised_for_later(module: Module) -> Iterator[str]:
    for line, comment in module.comments():
        if PROMISES.search(comment):
            yield f"{module.path}:{line} {comment!r}: do it, or file an issue"


def tests_are_never_skipped(module: Module) -> Iterator[str]:
    allowed = 1 if module.path == "tests/conftest.py" else 0  # the `shared` fixture
    found = [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in SKIPPING
        and ast.unparse(node.value) in {"pytest", "pytest.mark", "mark"}
    ]
    for node in found[allowed:]:
        yield f"{module.path}:{node.lineno} skips a test: give it what it needs, or remove it"


def tests_are_named_by_sentences(module: Module) -> Iterator[str]:
    for function in module.functions():
        words = function.name.split("_")[1:]
        if function.name.startswith("test_") and len(words) < MIN_TEST_NAME_WORDS:
            yield f"{module.path}:{function.lineno} {function.name}: name what must hold in a sentence"
