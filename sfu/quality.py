"""How well each is seen and heard by each, and why: what pages show without alarm, and what is put on record.

It is judged from what the tick knows, gets worse only when it has been so for two seconds and better after five, so
that nobody reads of each hiccup.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .allocation import Sound
from .peer import Peer
from .place import Place
from .types import Level, Reason, Way


class Verdict(NamedTuple):
    """How well, whose fault that is, and of one's own: which way it is bad."""

    level: Level
    reason: Reason
    way: Way = ""


GOOD = Verdict("good", "")
_WORSE: Mapping[Level, int] = {"good": 0, "poor": 1, "sound_only": 2, "lost": 3}
WORSE_AFTER, BETTER_AFTER = 2.0, 5.0
# Above this share of loss even repaired sound and pictures suffer.
POOR_LOSS = 0.10
# Pictures that take less than this share of what they would are visibly coarse.
COARSE = 0.75


def judge(place: Place, losses: Mapping[int, float]) -> Iterator[tuple[str, str, Verdict]]:
    """Who should be told what, for everyone in a room: (to, about, verdict).

    Args:
        losses: share of packets lost on the way from each peer, by the engine's number; NaN while unknown.
    """
    for viewer in place.peers.values():
        if viewer.participant not in place.room.people:
            continue
        yield viewer.participant, viewer.participant, _own(viewer, losses)
        for pair, other in place.room.seen_by(viewer.participant):
            publisher = place.peers.get(other)
            if publisher is not None:
                yield viewer.participant, other, _seen(viewer, publisher, viewer.video_slot(pair), losses)


def _own(peer: Peer, losses: Mapping[int, float]) -> Verdict:
    if not peer.connected:
        return Verdict("lost", "your_network", "both") if peer.was_connected else GOOD
    up = _lossy(peer, losses) or peer.publishing.in_trouble
    paused = {slot for slot, past in peer.allocation.slots.items() if past.paused}
    if paused - peer.allocation.beyond:
        return Verdict("sound_only", "your_network", "both" if up else "down")
    if (narrow := _narrow(peer)) or up:
        return Verdict("poor", "your_network", "both" if narrow and up else "up" if up else "down")
    return Verdict("poor", "your_phone", "both") if peer.device.strained else GOOD


def _seen(viewer: Peer, publisher: Peer, slot: int | None, losses: Mapping[int, float]) -> Verdict:
    if not publisher.connected:
        return Verdict("lost", "their_network") if publisher.was_connected else GOOD
    past = None if slot is None else viewer.allocation.slots.get(slot)
    if past is not None and past.paused:
        return Verdict("sound_only", "your_phone" if slot in viewer.allocation.beyond else "your_network")
    if _lossy(publisher, losses) or publisher.publishing.in_trouble:
        return Verdict("poor", "their_network")
    if publisher.device.limitation == "cpu":
        return Verdict("poor", "their_phone")
    if _narrow(viewer):
        return Verdict("poor", "your_network")
    return Verdict("poor", "your_phone") if viewer.device.strained else GOOD


def _narrow(viewer: Peer) -> bool:
    """Whether what comes to a viewer is visibly, or audibly, less than it should be."""
    allocation = viewer.allocation
    if allocation.sound != Sound.PLAIN or viewer.loss_down > POOR_LOSS:
        return True
    lowest = {want.slot: want.lowest for want in viewer.wants if not want.off}
    few = any(allocation.slots[slot].level == 0 for slot in lowest if slot in allocation.slots)
    return few or any(share < COARSE * lowest.get(slot, 0.0) for slot, share in allocation.shares.items())


def _lossy(peer: Peer, losses: Mapping[int, float]) -> bool:
    return losses.get(peer.number, 0.0) > POOR_LOSS


@dataclass
class _Told:
    told: Verdict = GOOD
    next: Verdict = GOOD
    since: float = 0.0


@dataclass
class Quality:
    """What everyone was told, and what they are told next."""

    _rooms: dict[str, dict[tuple[str, str], _Told]] = field(default_factory=dict)

    def settle(
        self, now: float, room: str, verdicts: Iterable[tuple[str, str, Verdict]]
    ) -> list[tuple[str, str, Verdict]]:
        """Takes one room's verdicts at `now` (seconds); returns those that people should hear of now."""
        known = self._rooms.get(room, {})
        changed, kept = [], {}
        for to, about, verdict in verdicts:
            one = kept[to, about] = known.get((to, about)) or _Told(since=now)
            if verdict != one.next:
                one.next, one.since = verdict, now
            worse = _WORSE[verdict.level] > _WORSE[one.told.level]
            patience = 0.0 if verdict.level == "lost" else WORSE_AFTER if worse else BETTER_AFTER
            if verdict != one.told and now - one.since >= patience:
                one.told = verdict
                changed.append((to, about, verdict))
        self._rooms[room] = kept
        return changed

    def keep(self, rooms: Container[str]) -> None:
        """Forgets rooms that are no more."""
        self._rooms = {room: pairs for room, pairs in self._rooms.items() if room in rooms}
