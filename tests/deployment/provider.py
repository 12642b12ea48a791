"""What the provider of AWS knows, from the package that binds it for Python: read, not installed (800 MB)."""

import ast
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from tests.deployment.conftest import ROOT

FOLDER: Final = ROOT / ".make" / "deploy"
# Terraform's own, of every resource.
META: Final = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner"}
NAMED: Final = re.compile(r":param (\w+):[^\n]*?#(\w+) \w+#\w+\}")
NESTED: Final = re.compile(r"\b([A-Z]\w+)\b")


@dataclass(frozen=True)
class Argument:
    is_required: bool
    block: str
    """The class of its own arguments, if it is a block."""


@cache
def _wheel() -> zipfile.ZipFile:
    (found,) = FOLDER.glob("cdktf_cdktf_provider_aws-*.whl")
    return zipfile.ZipFile(found)


@cache
def _module(kind: str) -> dict[str, ast.ClassDef]:
    """The classes of a resource's (`aws_db_instance`) or data source's (`data_aws_…`) module."""
    name = f"cdktf_cdktf_provider_aws/{kind.removeprefix('aws_')}/__init__.py"
    tree = ast.parse(_wheel().read(name).decode())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def arguments(kind: str, block: str = "") -> dict[str, Argument]:
    """The arguments of a resource, or of one of its blocks, by Terraform's names.

    Raises:
        KeyError: if there is no such resource.
    """
    classes = _module(kind)
    config = block or next(name for name in classes if name.endswith("Config") and f"{name[:-6]}" in classes)
    (init,) = (node for node in classes[config].body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    names = dict(NAMED.findall(ast.get_docstring(init) or ""))
    found = {}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.arg in names:
            words = NESTED.findall(ast.unparse(argument.annotation) if argument.annotation else "")
            nested = next((word for word in words if word in classes), "")
            found[names[argument.arg]] = Argument(default is None, nested)
    return found


def problems(kind: str, written: dict[str, Any], block: str = "") -> Iterator[str]:
    """What in the blocks of a file the provider doesn't know, or misses."""
    known = arguments(kind, block)
    if not block:
        known |= dict.fromkeys(META, Argument(is_required=False, block=""))
    given = _given(written)
    yield from (
        f"{block or kind} lacks {name}" for name, each in known.items() if each.is_required and name not in given
    )
    yield from (f"{block or kind} knows no {name}" for name in given if name not in known)
    for name in given.keys() & known.keys():
        for value in given[name] if known[name].block else ():
            if isinstance(value, dict):
                yield from problems(kind, value, known[name].block)


def _given(written: dict[str, Any]) -> dict[str, Any]:
    """What is written, a `dynamic` block being what it makes; without the reader's own marks."""
    given = {name: values for name, values in written.items() if name != "dynamic" and not name.startswith("__")}
    for each in written.get("dynamic", ()):
        for name, body in each.items():
            given[name] = [*given.get(name, ()), *body["content"]]
    return given
