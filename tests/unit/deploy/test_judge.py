"""The judge of a canary: what it reads of the proxy's log, and when it makes up its mind."""

import json
from datetime import UTC, datetime

from app.commands.deploy.judge import LEAST_BAD, Limits, Seen, judge, read

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = Limits(sample=100, seconds=30, errors=0.01, p99_seconds=0.5, slower=2)


def line(upstream: str = "10.0.0.2:8000", status: str = "200", seconds: str = "0.010", **other: str) -> str:
    told = {"timestamp": "2026-01-01T12:00:01+00:00", "path": "/api/v1/books", "upstream": upstream}
    return json.dumps(told | {"upstream_status": status, "upstream_seconds": seconds} | other)


def seen(answered: int, *, failed: int = 0, slow: int = 0, usual: float = 0.01) -> Seen:
    return Seen([usual] * (answered - slow) + [9.0] * slow, failed)


def test_only_the_members_asked_for_are_read() -> None:
    lines = [line(), line(upstream="10.0.0.22:8000"), line(status="503"), "2026/01/01 [notice] signal 1", ""]
    found = read(lines, {"10.0.0.2"}, SINCE)
    assert (found.answered, found.failed) == (2, 1)


def test_a_request_passed_on_counts_for_each_member_by_what_it_said() -> None:
    passed_on = line("10.0.0.2:8000, 10.0.0.3:8000", "502, 200", "0.000, 0.020")
    bad, good = read([passed_on], {"10.0.0.2"}, SINCE), read([passed_on], {"10.0.0.3"}, SINCE)
    assert (bad.answered, bad.failed) == (1, 1)
    assert (good.answered, good.failed, good.p99_seconds) == (1, 0, 0.02)


def test_what_is_no_answer_of_the_release_is_left_out() -> None:
    before = line(timestamp="2026-01-01T11:59:59+00:00")
    stream = line(path="/api/v1/books/availability/stream", seconds="60.0")
    left = line(status="-", seconds="-")
    assert read([before, stream, left, line(upstream="")], {"10.0.0.2"}, SINCE).answered == 0


def test_times_of_another_zone_are_the_same_instants() -> None:
    assert read([line(timestamp="2026-01-01T15:00:01+03:00")], {"10.0.0.2"}, SINCE).answered == 1


def test_a_few_failures_condemn_at_once_and_one_does_not() -> None:
    assert judge(seen(20, failed=LEAST_BAD), seen(100), LIMITS, 2).is_good is False
    assert judge(seen(20, failed=LEAST_BAD - 1), seen(100), LIMITS, 2).is_good is None


def test_a_canary_may_fail_as_often_as_what_runs_beside_it() -> None:
    assert judge(seen(200, failed=10), seen(2000, failed=100), LIMITS, 31).is_good is True
    assert judge(seen(200, failed=20), seen(2000, failed=100), LIMITS, 31).is_good is False


def test_a_slow_canary_is_found_by_its_p99() -> None:
    verdict = judge(seen(200, slow=LEAST_BAD), seen(2000), LIMITS, 5)
    assert verdict.is_good is False
    assert "slower" in verdict.why
    assert judge(seen(1000, slow=LEAST_BAD), seen(2000), LIMITS, 31).is_good is True


def test_a_canary_may_be_slow_where_all_are() -> None:
    assert judge(seen(200, usual=0.9), seen(2000, usual=0.6), LIMITS, 31).is_good is True
    assert judge(seen(200, usual=1.3), seen(2000, usual=0.6), LIMITS, 31).is_good is False


def test_good_takes_the_whole_time_and_the_whole_sample() -> None:
    assert judge(seen(1000), seen(2000), LIMITS, 29).is_good is None
    assert judge(seen(1000), seen(2000), LIMITS, 30).is_good is True
    scarce = judge(seen(99), seen(2000), LIMITS, 30)
    assert scarce.is_good is False
    assert "too few" in scarce.why
