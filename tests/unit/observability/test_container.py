"""What a container's control group says of it, and what becomes of it in the metrics."""

from pathlib import Path

import pytest

from app.core.container import Container
from app.core.figures import Machine
from app.core.vitals import Vitals

MIB = 2**20


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The files of a container that may use half a core and 256 MiB."""
    write(tmp_path, "cgroup.type", "domain")
    write(tmp_path, "cpu.max", "50000 100000")
    write(tmp_path, "cpu.stat", "usage_usec 1000000\nuser_usec 600000\nsystem_usec 400000")
    write(tmp_path, "memory.max", str(256 * MIB))
    write(tmp_path, "memory.current", str(100 * MIB))
    write(tmp_path, "memory.stat", f"anon {60 * MIB}\ninactive_file {30 * MIB}\nactive_file 0")
    write(tmp_path, "io.stat", "8:0 rbytes=10 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=0 rios=1")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"{text}\n", encoding="ascii")


def figures(vitals: Vitals) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for metric in Machine(vitals).collect()
        for sample in metric.samples
    }


def test_the_metrics_are_the_containers_where_it_has_limits(group: Path, tmp_path: Path) -> None:
    vitals = Vitals(Container(group))
    vitals.look(tmp_path)
    write(group, "cpu.stat", "usage_usec 1000000000")
    vitals.look(tmp_path)
    seen = figures(vitals)
    assert seen["system_cpu_usage_percent"] > 100, "more than a machine of any size could do in so short a time"
    assert seen["system_memory_limit_bytes"] == 256 * MIB
    assert seen["system_memory_usage_bytes"] == 70 * MIB, "what the kernel keeps of files is no shortage"
    assert (seen["system_disk_io_bytes_total read"], seen["system_disk_io_bytes_total write"]) == (15, 200)
    assert seen["system_network_bytes_total lo receive"] >= 0


def test_an_idle_container_is_idle_whatever_the_machine_does(group: Path, tmp_path: Path) -> None:
    vitals = Vitals(Container(group))
    vitals.look(tmp_path)
    vitals.look(tmp_path)
    assert vitals.cpu_percent == 0


def test_a_container_without_limits_is_measured_by_its_machine(group: Path, tmp_path: Path) -> None:
    write(group, "cpu.max", "max 100000")
    write(group, "memory.max", "max")
    container = Container(group)
    assert (container.cores(), container.memory_limit_bytes()) == (None, None)
    vitals = Vitals(container)
    vitals.look(tmp_path)
    assert vitals.memory_limit_bytes > 256 * MIB


def test_without_a_container_all_is_the_machines(tmp_path: Path) -> None:
    container = Container(tmp_path)
    assert (container.cores(), container.cpu_seconds(), container.memory_limit_bytes()) == (None, None, None)
    assert (container.memory_used_bytes(), container.disk_io_bytes()) == (None, None)
    vitals = Vitals(container)
    vitals.look(tmp_path)
    assert vitals.memory_limit_bytes > vitals.memory_used_bytes > 0
