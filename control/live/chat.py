"""What was said in a room's chat: kept in memory, until the room ends, and never more than `KEPT` lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from .server_messages import Chat

# A visit's chat has some dozens of lines. At 4000 characters a line this is at most 16 MB for a hostile room.
KEPT = 1000


@dataclass(frozen=True)
class Line:
    """One line, with who may read it.

    Attributes:
        seq: its place in the room's chat.
        to: the participant a host said it to, or None: everyone admitted.
        message: what goes out; encoded once, so that many who are told it again share it.
    """

    seq: int
    id: str
    participant: str
    to: str | None
    message: str


class ChatLog:
    """The lines of one room.

    `seq` starts at the wall clock's milliseconds, so that it grows over restarts without being written anywhere:
    nobody types a thousand lines a second for as long as a server runs.
    """

    def __init__(self, now: float, kept: int = KEPT) -> None:
        self._next = max(1, int(now * 1000))
        self._lines: deque[Line] = deque()
        self._kept = kept
        self._by_id: dict[tuple[str, str], Line] = {}

    @property
    def last(self) -> int:
        """The newest line's seq; what the next line gets is greater."""
        return self._next - 1

    def said(self, participant: str, id: str) -> Line | None:
        """The line that this participant said with this id, if it is still kept."""
        return self._by_id.get((participant, id))

    def say(self, participant: str, id: str, text: str, now: float, to: str | None = None) -> Line:
        """Adds a line at `now`, seconds since 1970; `id` must be new (`said`)."""
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = Chat(seq=self._next, id=id, participant=participant, text=text, at=at, to=to)
        line = Line(self._next, id, participant, to, message.encode())
        self._next += 1
        self._lines.append(line)
        self._by_id[(participant, id)] = line
        if len(self._lines) > self._kept:
            oldest = self._lines.popleft()
            self._by_id.pop((oldest.participant, oldest.id), None)
        return line

    def after(self, seq: int) -> Iterator[Line]:
        """The lines after `seq` that are still kept, oldest first."""
        return (line for line in self._lines if line.seq > seq)


class Hearing:
    """The stretches of a chat during which somebody was admitted: what they may be told again.

    Stretches are kept as pairs of seq, first and last inclusive; a stretch that is still open has no last.
    """

    # Being held and admitted again is one stretch each; more than these, and the oldest is forgotten.
    _STRETCHES = 32

    def __init__(self) -> None:
        self._stretches: deque[tuple[int, int | None]] = deque(maxlen=self._STRETCHES)

    def open(self, last: int) -> None:
        """From the line after `last` on, this person hears the room."""
        if not self._stretches or self._stretches[-1][1] is not None:
            self._stretches.append((last + 1, None))

    def close(self, last: int) -> None:
        """After the line `last`, this person no longer hears the room."""
        if self._stretches and self._stretches[-1][1] is None:
            self._stretches[-1] = (self._stretches[-1][0], last)

    def heard(self, seq: int) -> bool:
        """Whether the line `seq` was said while this person was admitted."""
        return any(first <= seq and (last is None or seq <= last) for first, last in self._stretches)
