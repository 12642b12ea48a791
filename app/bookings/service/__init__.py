"""Bookings: placing, cancelling, suspending and resuming them, and handing copies to whoever is next."""

from app.bookings.service.change import (
    BookingClosed,
    BookingNotFound,
    BookingNotSuspended,
    BookingNotWaiting,
    Owner,
    cancel,
    expire,
    resume,
    suspend,
    withdraw,
)
from app.bookings.service.handover import back_to_queue, note, pass_on, promise, send_home, settle, settle_all
from app.bookings.service.place import (
    AlreadyBooked,
    AlreadyBorrowed,
    BookingLimitReached,
    NotForLoan,
    Wish,
    place,
)
from app.bookings.service.standing import CardExpired, ReaderBlocked, ReaderNotFound, check_standing, hold_reader

__all__ = [
    "AlreadyBooked",
    "AlreadyBorrowed",
    "BookingClosed",
    "BookingLimitReached",
    "BookingNotFound",
    "BookingNotSuspended",
    "BookingNotWaiting",
    "CardExpired",
    "NotForLoan",
    "Owner",
    "ReaderBlocked",
    "ReaderNotFound",
    "Wish",
    "back_to_queue",
    "cancel",
    "check_standing",
    "expire",
    "hold_reader",
    "note",
    "pass_on",
    "place",
    "promise",
    "resume",
    "send_home",
    "settle",
    "settle_all",
    "suspend",
    "withdraw",
]
