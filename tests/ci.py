"""A pytest plugin, loaded by `make test`: `--no-skips` turns every skipped test into a failed one.

A failure is shown at once, so that a run that is ended from outside has told it. SIGTERM ends it as Ctrl-C does,
and with it the servers that it has started.
A connection that is left open shows only when it is collected, tests later; its warning names the test that opened it.
"""

import os
import signal
from asyncio import selector_events
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test counts as failed (CI)")


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    transport: Any = selector_events._SelectorTransport  # type: ignore[attr-defined]  # asyncio's own
    begin, describe = transport.__init__, transport.__repr__

    def begun(self: Any, *arguments: Any, **named: Any) -> None:
        self.opened_by = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        begin(self, *arguments, **named)

    transport.__init__ = begun
    transport.__repr__ = lambda self: f"{describe(self)} opened by {self.opened_by}"


class Teller:
    """Shows each failure when it happens, beside the summary at the end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f"\n{report.nodeid} ({report.when})\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter):
        session.config.pluginmanager.register(Teller(terminal))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _judge((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _judge((yield), collector.config)


def _judge(report: Report, config: pytest.Config) -> Report:
    if report.skipped and config.getoption("no_skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nIn CI nothing may be skipped: give the test what it needs, or remove it."
    return report
