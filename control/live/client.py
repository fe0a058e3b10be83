"""One websocket that has said hello: what it was told last, and what it may still ask."""

from __future__ import annotations

from collections.abc import Sequence

from ...sfu.types import Device
from .limits import Limits
from .outbox import Outbox
from .server_messages import Error, ServerMessage

# What exists once per client and is told whole, whenever it changes.
Kind = str


class Client:
    """The connected page of one session.

    Attributes:
        session: the arrival it belongs to.
        device: what the page said of its device.
        answered: when the websocket last answered, seconds, monotonic.
        offering: an offer is being answered; slots wait, they would name mids that the page can't place yet.
        shares: it has said `sharing` on this websocket.
        said_muted: sources of which it has said on this websocket whether they are muted.
    """

    def __init__(
        self, session: str, outbox: Outbox, device: Device, last_chat: int, limits: Limits, now: float
    ) -> None:
        self.session = session
        self.device = device
        self.last_chat = last_chat
        self.limits = limits
        self.answered = now
        self.last_offer = -1
        self.offering = False
        self.shares = False
        self.said_muted: set[str] = set()
        self._outbox = outbox
        self._told: dict[Kind, str] = {}

    @property
    def closing(self) -> bool:
        """A close is on its way; nothing more goes out."""
        return self._outbox.closing

    def tell(self, kind: Kind, text: str) -> None:
        """Sends a whole list or a status, unless it is what this client was told last."""
        if self._told.get(kind) != text:
            self._told[kind] = text
            self._outbox.put(text)

    def was_told(self, kind: Kind) -> bool:
        """Whether the client has ever been told this since it was last made to forget."""
        return kind in self._told

    def forget(self, *kinds: Kind) -> None:
        """The next `tell` of these kinds goes out, whatever it says."""
        for kind in kinds:
            self._told.pop(kind, None)

    def say(self, message: ServerMessage) -> None:
        """Sends something that happens once: a chat line, an answer, an error."""
        self._outbox.put(message.encode())

    def say_text(self, text: str) -> None:
        """As `say`, for a message that was encoded once for many."""
        self._outbox.put(text)

    def say_again(self, texts: Sequence[str]) -> None:
        """Says what was said while this client was away."""
        self._outbox.put_kept(texts)

    def refuse(self, code: str, detail: str, re: str | int | None = None) -> None:
        """Says that something was refused, and what."""
        self._outbox.put(Error(code=code, detail=detail, re=re).encode())

    def close(self, code: int) -> None:
        """Closes the websocket once everything said has gone out."""
        self._outbox.close(code)

    def cut(self) -> None:
        """Drops a websocket that no longer answers."""
        self._outbox.cut()

    def ping(self) -> None:
        """Asks the websocket for a sign of life."""
        self._outbox.ping()
