"""Chaos: the faults that a library meets in its years, each done on purpose and under load, and what came of it."""
