"""How a job says that it could not do all its work, and what it did all the same."""

from app.core.schemas import JsonObject


class JobFailed(Exception):
    """The job stopped early; `result` counts what it had done. The message holds nothing personal."""

    def __init__(self, reason: str, *, result: JsonObject) -> None:
        super().__init__(reason)
        self.result = result
