"""docker-compose.yml as the stack test reads it: what it says of each service is what the test starts."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Service:
    name: str
    image: str
    user: str
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]
    files: list[tuple[Path, str]]
    volumes: list[tuple[str, str, bool]]
    """Name, where, and whether it can be read only."""
    secrets: list[str]
    tmpfs: list[str]
    ports: list[tuple[int, int]]
    """Published: outside, inside."""
    networks: dict[str, list[str]]
    """And the aliases that it has in each."""
    profiles: set[str]
    health: list[str] | None
    is_read_only: bool
    replicas: int

    @classmethod
    def of(cls, name: str, given: dict[str, Any], folder: Path) -> Self:
        mounts = [mount.split(":") for mount in given.get("volumes", [])]
        health = given.get("healthcheck", {}).get("test")
        return cls(
            name=name,
            image=given["image"],
            user=given.get("user", ""),
            entrypoint=given.get("entrypoint", []),
            command=given.get("command", []),
            environment={key: str(value) for key, value in given.get("environment", {}).items()},
            files=[(_file(source, folder), target) for source, target, *_ in mounts if source[0] in "./"],
            volumes=[(source, target, "ro" in mode) for source, target, *mode in mounts if source[0] not in "./"],
            secrets=list(given.get("secrets", [])),
            tmpfs=[entry.partition(":")[0] for entry in given.get("tmpfs", [])],
            ports=[_port(entry) for entry in given.get("ports", [])],
            networks=_networks(given.get("networks", [])),
            profiles=set(given.get("profiles", [])),
            health=_health(health) if health else None,
            is_read_only=given.get("read_only", False),
            replicas=_default(given.get("deploy", {}).get("replicas", 1)),
        )


def services(
    folder: Path, *overrides: str, profiles: Collection[str] = (), but: Collection[str] = ()
) -> dict[str, Service]:
    """The services without a profile or of one of these, as Compose merges the overrides into docker-compose.yml.

    What `make env` makes is taken from `folder`, the rest from the repository.
    """
    given: dict[str, Any] = merged(*overrides)["services"]
    return {
        name: Service.of(name, service, folder)
        for name, service in given.items()
        if set(service.get("profiles", ())) <= set(profiles) and name not in but
    }


def merged(*overrides: str) -> dict[str, Any]:
    """docker-compose.yml with the files over it. Source: the Compose specification, Merge."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name in overrides:
        whole = _merge(whole, yaml.load((ROOT / name).read_text(), Tagged))
    return whole


class Instead(dict[Any, Any]):
    """What an override says with `!override`: it stands in the place of what was there, and isn't merged."""


class Tagged(yaml.SafeLoader):
    """Reads `!override`."""


def _instead(loader: Tagged, node: yaml.MappingNode) -> Instead:
    return Instead(loader.construct_mapping(node, deep=True))


Tagged.add_constructor("!override", _instead)


def _merge(base: Any, over: Any, key: str = "") -> Any:
    """Mappings by key; commands are replaced, mounts by where they go; other lists grow; the rest is replaced."""
    if isinstance(over, Instead):
        return dict(over)
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {name: _merge(base.get(name), value, name) for name, value in over.items()}
    if isinstance(base, list) and isinstance(over, list) and key not in {"command", "entrypoint", "test"}:
        targets = {_target(entry) for entry in over} if key == "volumes" else set()
        kept = [entry for entry in base if entry not in over and not (key == "volumes" and _target(entry) in targets)]
        return kept + over
    return over


def _target(mount: str) -> str:
    return mount.split(":")[1]


def _default(value: int | str) -> int:
    """Of `${NAME:-2}`: what holds while nobody says otherwise."""
    return value if isinstance(value, int) else int(value.rpartition(":-")[2].rstrip("}"))


def _file(source: str, folder: Path) -> Path:
    """A deploy writes upstream/members.conf, so the test has a copy of that folder; whoever develops changes app/."""
    made = source.startswith(("./secrets", "./env", "./nginx/upstream")) or (folder / source).exists()
    path = (folder if made else ROOT) / source
    if not path.exists():
        raise AssertionError(f"docker-compose.yml mounts {source}, which is not there")
    return path


def _port(entry: str) -> tuple[int, int]:
    outside, inside = entry.split(":")[-2:]
    return int(outside), int(inside)


def _networks(given: list[str] | dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
    if isinstance(given, list):
        return {name: [] for name in given}
    return {name: (told or {}).get("aliases", []) for name, told in given.items()}


def _health(test: list[str]) -> list[str]:
    if test[0] == "CMD-SHELL":
        return ["/bin/sh", "-c", test[1].replace("$$", "$")]
    return test[1:]


def shell(words: list[str]) -> str:
    return shlex.join(words)
