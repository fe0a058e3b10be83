"""What is needed of each publisher: the layers that somebody is shown or would be next, and how large the lowest is."""

from __future__ import annotations

from .allocation import Want
from .engine import CAMERA, SCREEN
from .peer import Peer
from .place import Place
from .publishing import Needs

# Around the 20 packets a second of a small picture: what isn't payload of its share (rates.PACKET_OVERHEAD).
SHARE_OVERHEAD = 13_000
# More than any layer takes, bit/s.
ANY = 10_000_000


def needs(place: Place, publisher: Peer) -> Needs:
    """What everyone in the room needs of `publisher`."""
    found: dict[int, dict[int, int | None]] = {CAMERA: {}, SCREEN: {}}
    for viewer in place.peers.values():
        for want in viewer.wants:
            if want.who[0] == publisher.number and not want.off and want.options:
                _add(found[want.who[1]], viewer, want)
    return Needs(camera=found[CAMERA], screen=found[SCREEN])


def _add(table: dict[int, int | None], viewer: Peer, want: Want) -> None:
    """Adds what one viewer needs; where one needs a layer as declared, nobody may ask for less of it."""
    past = viewer.allocation.slots.get(want.slot)
    level = -1 if past is None else past.level
    lowest = want.options[0].layer
    share = viewer.allocation.shares.get(want.slot)
    if share is not None:
        asked = int(share - SHARE_OVERHEAD)
        known = table.get(lowest, asked)
        table[lowest] = None if known is None else min(known, asked)
    elif level == 0 or (level > 0 and want.options[level].layer == lowest):
        table[lowest] = None
    elif lowest not in table:
        # Somebody who is shown more, or has no room at all: it stays on for when they need it, however large.
        table[lowest] = ANY
    room = viewer.target - viewer.allocation.used + (want.options[level].rate if level >= 0 else 0.0)
    for at, option in enumerate(want.options):
        if option.layer != lowest and (at <= level or (level >= 0 and option.rate <= room)):
            table[option.layer] = None
