"""What every way of sending has in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Outgoing:
    """One message on its way.

    Attributes:
        id: the same each time that it is tried.
        to: an e-mail address, or a number as E.164.
        subject: of an e-mail; empty otherwise.
        at: when it is sent.
    """

    id: str
    to: str
    subject: str
    text: str
    language: str
    at: datetime

    def __repr__(self) -> str:
        # Whatever logs one says neither to whom nor what.
        return f"Outgoing({self.id})"


class Unsent(Exception):
    """It hasn't gone, but may later. The text says why in a word or two: never to whom."""


class Undeliverable(Exception):
    """It won't go to this address, however often it is tried. The text as of `Unsent`."""


class Sender(Protocol):
    """A way of sending."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, one: Outgoing) -> None: ...
