"""Is somebody there? One rule for all: by media where one has a peer, by the websocket where one hasn't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Connection = Literal["none", "connecting", "connected", "lost"]

# Seconds without a sign after which somebody is lost (CONTRACT, People).
LOST_AFTER = 5.0


@dataclass
class Presence:
    """The signs of life of one arrival; times in seconds, monotonic.

    Attributes:
        state: what others are told.
        peer: whether the node holds a peer for this arrival.
        media: whether the node says that media or RTCP came within 5 s.
        answered: when the websocket last answered; None without a websocket that ever did.
        began: since when a peer is awaited: its offer was answered, or its client said hello again.
    """

    state: Connection = "none"
    peer: bool = False
    media: bool = False
    answered: float | None = None
    began: float | None = None

    def joined(self, now: float) -> None:
        """The node has a new peer, which has not been heard yet."""
        self.peer, self.media, self.began = True, False, now

    def let_in(self, now: float) -> None:
        """The peer that was made ready while this arrival waited counts from now on, whether it was heard or not."""
        self.peer, self.began = True, now

    def dropped(self) -> None:
        """The node holds no peer any more."""
        self.peer = self.media = False

    def hello(self, now: float, kept: bool, *, counts: bool = True) -> None:
        """A client came, or came back; `kept`: the node still holds its peer, which `counts` unless it only waits."""
        self.answered = self.began = now
        self.peer = kept and counts
        self.media = self.media and kept

    def at(self, now: float) -> Connection:
        """The connection at `now`; remembered, since somebody who was connected stays so until 5 s are over."""
        if self.peer:
            awaited = self.began is not None and now - self.began < LOST_AFTER
            if self.media:
                self.state = "connected"
            elif not awaited:
                self.state = "lost"
            elif self.state != "connected":
                self.state = "connecting"
        elif self.answered is not None:
            self.state = "connected" if now - self.answered < LOST_AFTER else "lost"
        return self.state
