"""Rules of axe that are switched off, each with its reason; reviewed here and nowhere else."""

SWITCHED_OFF: dict[str, str] = {}
