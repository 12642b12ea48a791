"""The library service: a catalogue, readers, bookings and loans."""

__version__ = "0.1.0"
