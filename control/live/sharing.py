"""Whose screen is shown: one in a room at a time."""

from __future__ import annotations


class Sharing:
    """The arrival that holds the room's one screen slot."""

    def __init__(self) -> None:
        self.holder: str | None = None

    def take(self, session: str, host: bool, holder_there: bool) -> bool:
        """Tries to take the screen: a host gets it from anyone, others where nobody who is still there has it."""
        if self.holder not in (None, session) and holder_there and not host:
            return False
        self.holder = session
        return True

    def release(self, session: str) -> bool:
        """Gives it back; false when this arrival didn't have it."""
        if self.holder != session:
            return False
        self.holder = None
        return True
