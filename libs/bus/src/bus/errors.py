"""What can go wrong with the bus.

BusError
├── BusUnavailable    no connection right now, or it was lost on the way: later it may work
├── AccessInvalid     a file that says who we are to the bus: an operator's mistake
├── SubjectInvalid    a programmer's or a stranger's mistake: repeating it changes nothing
├── MessageTooLarge   the same
└── EventInvalid      what arrived is not an event: count it and go on
"""

from __future__ import annotations

__all__ = [
    "AccessInvalid",
    "BusError",
    "BusUnavailable",
    "EventInvalid",
    "MessageTooLarge",
    "SubjectInvalid",
]


class BusError(Exception):
    """Base of every error of this package."""


class BusUnavailable(BusError):
    """The bus is not connected, or its connection broke while it was asked."""


class AccessInvalid(BusError):
    """A key, a certificate or the roots of the bus cannot be read or are none."""


class SubjectInvalid(BusError):
    """A subject, or an identifier meant for one, is not of the allowed form."""


class MessageTooLarge(BusError):
    """A payload or a header exceeds what the bus carries."""


class EventInvalid(BusError):
    """A received payload cannot be read as the event its subject stands for."""
