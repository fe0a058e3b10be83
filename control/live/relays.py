"""Who is told of the TURN server, with which credential, and when with another."""

from __future__ import annotations

from collections.abc import Callable

from ..secret import Random, new_secret
from ..turn import Turn
from .present import Present, Relay
from .server_messages import IceServer

# An arrival's name on the TURN server; enough that no two are alike. Random, so that it leads nobody to a person.
USER_BYTES = 9


class Relays:
    """Makes credentials for arrivals that are inside. Without a TURN server there are none."""

    def __init__(self, turn: Turn | None, now: Callable[[], float], wall: Callable[[], float], random: Random) -> None:
        self._turn = turn
        self._now = now
        self._wall = wall
        self._random = random

    def servers(self, present: Present) -> list[IceServer]:
        """What somebody who is inside is told; the same until it is `due`."""
        if self._turn is None:
            return []
        if present.relay is None:
            present.relay = Relay(new_secret("", self._random, USER_BYTES), [], self._now())
        relay = present.relay
        if self.due(present):
            # The name stays, so that what the TURN server allows one user is not had anew with each return.
            one = self._turn.credential(relay.user, self._wall())
            urls = list(self._turn.urls)
            relay.servers = [IceServer(urls=urls, username=one.username, credential=one.password)]
            # By then half is left for a page that has lost its websocket.
            relay.renew_at = self._now() + self._turn.lifetime / 2
        return relay.servers

    def due(self, present: Present) -> bool:
        """Whether somebody who has a credential should have another."""
        return present.relay is not None and self._now() >= present.relay.renew_at

    def returned(self, present: Present) -> None:
        """Somebody has said hello again: whatever they have to connect anew, they need for the whole visit."""
        if present.relay is not None:
            present.relay.renew_at = self._now()
