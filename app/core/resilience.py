"""What stands between us and a neighbour that may fail: a breaker, after whose opening nobody asks for a while."""

import time
from collections.abc import Callable

import structlog

from app.core import metrics

log = structlog.get_logger()


class Breaker:
    """Opens with a failure: then only one in each pause may ask, and closes it again if he is answered.

    Its state is the metric `breaker_open`, by name.
    """

    def __init__(self, name: str, *, pause_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._open_until: float | None = None
        self._gauge = metrics.breaker_open.labels(name)
        self._gauge.set(0)

    @property
    def is_closed(self) -> bool:
        return self._open_until is None

    def may_ask(self) -> bool:
        """Whether to ask now. Whoever asks says then whether it `failed` or `succeeded`."""
        if self._open_until is None:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._pause_seconds
        return True

    def succeeded(self) -> None:
        if self._open_until is not None:
            self._open_until = None
            self._gauge.set(0)
            log.info("breaker_closed", neighbour=self._name)

    def failed(self, error: BaseException) -> None:
        if self._open_until is None:
            log.warning(
                "breaker_open", neighbour=self._name, reason=type(error).__name__, pause_seconds=self._pause_seconds
            )
        self._open_until = self._clock() + self._pause_seconds
        self._gauge.set(1)
