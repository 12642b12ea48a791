"""Terraform's files: formatted, valid as far as that is known without a provider, and what the provider knows."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deployment import provider
from tests.deployment.conftest import ROOT, TOOLS, Document, database_image, named, of_kind, settings_of
from tests.deployment.test_schemas import VERSIONS

ENVIRONMENTS: Final = ("production", "staging")
READER: Final = ROOT / "scripts" / "read_terraform.py"
# All that is left to object to: no registry of providers is reached where this is tested.
WITHOUT_PROVIDER: Final = "Missing required provider: This configuration requires provider"


def read(folder: Path) -> dict[str, Any]:
    command = [TOOLS / "python", READER, folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    copy = tmp_path_factory.mktemp("terraform") / "terraform"
    shutil.copytree(ROOT / "terraform", copy, ignore=shutil.ignore_patterns(".terraform*"))
    return read(copy)


def blocks(told: dict[str, Any], kind: str) -> Iterator[tuple[str, str, str, Document]]:
    """Folder, type, name and body of each resource or data source."""
    for folder, found in told["folders"].items():
        for each in found["blocks"].get(kind, ()):
            for type_, by_name in each.items():
                for name, body in by_name.items():
                    yield folder, type_, name, body


def test_terraform_fmt_changes_nothing(told: dict[str, Any]) -> None:
    assert told["unformatted"] == ""


def test_terraform_validate_objects_to_nothing_but_the_missing_provider(told: dict[str, Any]) -> None:
    for folder, found in told["folders"].items():
        others = [each for each in found["problems"] if not each.startswith(WITHOUT_PROVIDER)]
        assert others == [], folder


def test_terraform_validate_finds_an_argument_that_no_module_takes(tmp_path: Path) -> None:
    copy = tmp_path / "terraform"
    shutil.copytree(ROOT / "terraform", copy, ignore=shutil.ignore_patterns(".terraform*"))
    main = copy / "environments" / "production" / "main.tf"
    main.write_text(main.read_text().replace("backup_days ", "backup_hours "))
    problems = " ".join(read(copy)["folders"]["environments/production"]["problems"])
    assert "backup_hours" in problems


def test_every_argument_is_one_that_the_provider_knows(told: dict[str, Any]) -> None:
    seen = 0
    for kind, prefix in (("resource", ""), ("data", "data_")):
        for folder, type_, name, body in blocks(told, kind):
            found = list(provider.problems(f"{prefix}{type_}", body))
            assert found == [], f"{folder}: {type_}.{name}"
            seen += 1
    assert seen > 60


def test_the_provider_misses_what_is_missing_and_knows_no_misspelt_name() -> None:
    found = set(provider.problems("aws_db_instance", {"engin": ["postgres"], "timeouts": [{"created": ["1h"]}]}))
    assert found == {
        "aws_db_instance lacks instance_class",
        "aws_db_instance knows no engin",
        "DbInstanceTimeouts knows no created",
    }


def test_the_release_of_the_provider_is_the_one_that_was_read(told: dict[str, Any]) -> None:
    text = provider._wheel().read("cdktf_cdktf_provider_aws/db_instance/__init__.py").decode()
    match = re.search(r"hashicorp/aws/(\d+\.\d+)\.\d+/docs", text)
    assert match
    for folder, found in told["folders"].items():
        (wanted,) = found["blocks"]["terraform"][0]["required_providers"]
        assert f"~> {match[1]}" in str(wanted), folder


def test_a_database_is_not_destroyed_by_mistake(told: dict[str, Any]) -> None:
    primary = next(body for _, _, name, body in blocks(told, "resource") if name == "primary")
    assert primary["lifecycle"] == [{"prevent_destroy": [True]}]
    assert primary["deletion_protection"] == [True]
    assert primary["skip_final_snapshot"] == [False]
    assert primary["multi_az"] == [True]
    # Turning a password over is no change of this resource.
    assert primary["manage_master_user_password"] == [True]
    assert "password" not in primary
    kept = {type_ for _, type_, _, body in blocks(told, "resource") if "prevent_destroy" in str(body.get("lifecycle"))}
    assert kept == {"aws_db_instance", "aws_s3_bucket", "aws_route53_zone"}


def test_each_environment_has_a_state_of_its_own_and_tags_everything(told: dict[str, Any]) -> None:
    states = set()
    for environment in ENVIRONMENTS:
        found = told["folders"][f"environments/{environment}"]["blocks"]
        (backend,) = found["terraform"][0]["backend"]
        states.add(backend["s3"]["bucket"][0])
        assert backend["s3"]["encrypt"] == [True]
        (tags,) = found["provider"][0]["aws"]["default_tags"]
        assert tags["tags"][0]["Environment"] == environment
        assert tags["tags"][0].keys() >= {"Project", "ManagedBy"}
    assert len(states) == len(ENVIRONMENTS)


def test_every_variable_and_output_says_what_it_is(told: dict[str, Any]) -> None:
    for folder, found in told["folders"].items():
        for kind in ("variable", "output"):
            for each in found["blocks"].get(kind, ()):
                for name, body in each.items():
                    assert body.get("description"), f"{folder}: {kind} {name}"
                    assert kind == "output" or body.get("type"), f"{folder}: {name} has no type"


def test_no_secret_is_written_down(told: dict[str, Any]) -> None:
    for folder, found in told["folders"].items():
        for each in found["blocks"].get("variable", ()):
            for name, body in each.items():
                if "password" in name:
                    assert body.get("sensitive") == [True], folder
                    assert "default" not in body


def test_the_environments_differ_in_sizes_and_names_alone() -> None:
    """They repeat each other on purpose; what is added to one and forgotten in the other is not."""
    folders = [ROOT / "terraform" / "environments" / environment for environment in ENVIRONMENTS]
    names = [{path.name for path in folder.glob("*.tf")} for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        shapes = [
            re.sub(r"Production|Staging|production|staging|= .*", "", (folder / name).read_text()) for folder in folders
        ]
        assert shapes[0] == shapes[1], name


def test_the_readme_names_every_module_and_no_other_and_costs_that_the_budget_covers(told: dict[str, Any]) -> None:
    text = (ROOT / "terraform" / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "terraform" / "modules").iterdir()}
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == modules
    (sums,) = re.findall(r"\*\*together\*\* \| \*\*about (\d+)\*\* \| \*\*about (\d+)\*\*", text)
    rows = re.findall(r"^\| [^|*]+ \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    for column, environment in enumerate(ENVIRONMENTS):
        total = sum(int(row[column]) for row in rows)
        assert abs(total - int(sums[column])) <= 5, environment
        calls = told["folders"][f"environments/{environment}"]["blocks"]["module"]
        (budget,) = (each["monitoring"]["budget_usd"][0] for each in calls if "monitoring" in each)
        assert total <= budget <= total * 1.2, environment


def test_every_resource_of_an_environment_is_tagged(told: dict[str, Any]) -> None:
    """By the provider, so that none can be forgotten."""
    for environment in ENVIRONMENTS:
        (given,) = told["folders"][f"environments/{environment}"]["blocks"]["provider"]
        (tags,) = given["aws"]["default_tags"][0]["tags"]
        assert tags == {"Project": "library", "Environment": environment, "ManagedBy": "terraform"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_terraform_makes_is_what_the_overlay_expects(
    environment: str, told: dict[str, Any], rendered: dict[str, list[Document]]
) -> None:
    calls = told["folders"][f"environments/{environment}"]["blocks"]["module"]
    module = {name: body for each in calls for name, body in each.items()}
    documents = rendered[environment]
    settings = settings_of(documents)
    assert module["network"]["cidr"] == [settings["FORWARDED_ALLOW_IPS"]]
    assert f"https://{module['dns']['host'][0]}" == settings["PUBLIC_URL"]
    assert module["cluster"]["namespace"][0] == documents[0]["metadata"].get(
        "namespace", documents[0]["metadata"]["name"]
    )
    assert module["cluster"]["kubernetes_version"][0] in {version.rpartition(".")[0] for version in VERSIONS}
    version = database_image().removeprefix("postgres:").partition("-")[0]
    assert module["database"]["engine_version"] == [version]
    may = told["folders"]["modules/cluster"]["blocks"]["locals"][0]["may"][0]
    for role, each in may.items():
        annotations = named(documents, "ServiceAccount", each["account"])["metadata"]["annotations"]
        assert annotations["eks.amazonaws.com/role-arn"].endswith(f":role/library-{environment}-{role}")


def test_the_secrets_that_are_fetched_are_those_that_the_role_may_read(
    told: dict[str, Any], rendered: dict[str, list[Document]]
) -> None:
    keys = {
        entry["remoteRef"]["key"]
        for overlay in ENVIRONMENTS
        for each in of_kind(rendered[overlay], "ExternalSecret")
        for entry in each["spec"]["data"]
    }
    policy = next(
        body for _, type_, name, body in blocks(told, "data") if (type_, name) == ("aws_iam_policy_document", "secrets")
    )
    (resource,) = policy["statement"][0]["resources"][0]
    prefix = resource.rpartition(":secret:")[2].removesuffix("*")
    assert all(key.startswith(prefix) for key in keys)


def test_the_database_is_set_as_that_of_compose(told: dict[str, Any]) -> None:
    group = next(body for _, type_, _, body in blocks(told, "resource") if type_ == "aws_db_parameter_group")
    given = group["dynamic"][0]["parameter"]["for_each"][0]
    conf = (ROOT / "postgres" / "postgresql.conf").read_text(encoding="utf-8")
    units = {"s": 1_000, "": 1}
    for name, value in given.items():
        match = re.search(rf"^{name} = (\w+?)(s|)$", conf, re.MULTILINE)
        assert match, name
        number = str(int(match[1]) * units[match[2]]) if match[1].isdigit() else match[1]
        assert value in {number, {"on": "1"}.get(number)}, name
