"""How sound goes to each viewer: which repair fits its loss and its round trip (DESIGN, "Sound is repaired")."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SoundMode:
    """How sound goes to one viewer.

    Attributes:
        redundancy: earlier packets that each packet carries again, 0 to 2, where the viewer offered RED (RFC 2198).
        twice: each sealed packet goes a second time, the same bytes, 20 to 40 ms later.
        joined: packets are joined to 60 ms (RFC 6716, section 3.2).
        pauses_dropped: silence is not sent.
    """

    redundancy: int = 0
    twice: bool = False
    joined: bool = False
    pauses_dropped: bool = False


PLAIN = SoundMode()
STARVED = SoundMode(joined=True, pauses_dropped=True)
