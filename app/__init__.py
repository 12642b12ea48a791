"""The library service: a catalogue, readers, bookings and loans."""

from app.core.loading import defer

__version__ = "0.1.0"

defer()
