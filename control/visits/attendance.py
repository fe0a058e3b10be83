"""Who was in a visit, from when to when and how well, read off what was written down as it happened: no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

# The levels that are written down (`media.degraded`), and `lost`: nothing came at all.
Level = Literal["good", "poor", "sound_only", "lost"]
LEVELS: tuple[Level, ...] = ("good", "poor", "sound_only", "lost")
# What they saw and heard, and what others saw and heard of them.
Way = Literal["down", "up"]
WAYS: tuple[Way, ...] = ("down", "up")
Levels = dict[Level, timedelta]


@dataclass(frozen=True)
class Happening:
    """One event of the feed."""

    at: datetime
    type: str
    participant: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Stretch:
    """Some time; `end` None: it goes on."""

    start: datetime
    end: datetime | None

    def lasted(self, now: datetime) -> timedelta:
        return (self.end or now) - self.start


@dataclass
class Attendance:
    """One participant's time in a visit.

    Attributes:
        inside: when they were let in and there; a network that was gone for less than five minutes is no gap.
        waited: when they were in the waiting room, being identified included.
        levels: of the time inside, how much passed with their sound and pictures how good, each way.
    """

    inside: list[Stretch] = field(default_factory=list)
    waited: list[Stretch] = field(default_factory=list)
    levels: dict[Way, Levels] = field(
        default_factory=lambda: {way: {level: timedelta() for level in LEVELS} for way in WAYS}
    )


def attendance(happened: Iterable[Happening], now: datetime) -> dict[str, Attendance]:
    """By participant id; whoever never came isn't in it."""
    walks: dict[str, _Walk] = {}
    for one in happened:
        if one.participant is not None:
            walks.setdefault(one.participant, _Walk()).take(one)
        elif one.type in ("room.ended", "room.cancelled"):
            for walk in walks.values():
                walk.over(one.at)
    for walk in walks.values():
        walk.finish(now)
    return {participant: walk.found for participant, walk in walks.items() if walk.came}


class _Walk:
    """Follows one participant through the events. Where several browsers of theirs come, one counts at a time."""

    def __init__(self) -> None:
        self.found = Attendance()
        self.came = False
        self._place: Literal["out", "waiting", "inside"] = "out"
        self._session: str | None = None
        self._since: datetime | None = None  # None also while they are in their place but the visit is over
        self._lost: datetime | None = None
        self._level: dict[Way, Level] = dict.fromkeys(WAYS, "good")
        self._marked: datetime | None = None  # up to where `levels` is filled in

    def take(self, one: Happening) -> None:
        session = one.data.get("session")
        mine = self._session is None or session is None or session == self._session
        match one.type:
            case "participant.waiting" | "participant.held" if not one.data.get("second"):
                self._move("waiting", session, one.at)
            case "participant.admitted":
                self._move("inside", session, one.at)
            case "participant.left" if mine:
                # Who was lost for five minutes has left when they were lost.
                self._move("out", None, (self._lost or one.at) if one.data.get("lost") else one.at)
            case "participant.denied" | "participant.removed" if mine:
                self._move("out", None, one.at)
            case "participant.lost" if mine:
                self._mark(one.at)
                self._lost = one.at
            case "participant.connected" if mine:
                self._mark(one.at)
                self._lost = None
                if self._place != "out" and self._since is None:
                    self._since = self._marked = one.at  # the visit was reopened, and they are back
            case "media.degraded":
                self._mark(one.at)
                level = one.data.get("level")
                for way in WAYS:
                    if one.data.get("way", "both") in (way, "both"):
                        self._level[way] = level if level in LEVELS else "poor"
            case "media.restored":
                self._mark(one.at)
                self._level = dict.fromkeys(WAYS, "good")
            case "room.updated" if one.data.get("fields") == ["participants"]:
                self._move("out", None, one.at)  # the invitation was taken back

    def over(self, at: datetime) -> None:
        """The visit ends; who is in it keeps their place, in case it is reopened."""
        self._close(min(self._lost, at) if self._lost is not None else at)

    def finish(self, now: datetime) -> None:
        """Nothing more is known."""
        if self._since is not None:
            self._mark(now)
            self._stretches().append(Stretch(self._since, None))

    def _move(self, place: Literal["out", "waiting", "inside"], session: str | None, at: datetime) -> None:
        self.came = self.came or place != "out"
        if place == self._place and self._since is not None:
            self._session = session  # another browser takes over
            return
        self._close(at)
        self._place, self._session = place, session
        self._since = self._marked = None if place == "out" else at

    def _close(self, at: datetime) -> None:
        if self._since is not None:
            self._mark(at)
            self._stretches().append(Stretch(self._since, max(at, self._since)))
        self._since = self._marked = self._lost = None
        self._level = dict.fromkeys(WAYS, "good")

    def _stretches(self) -> list[Stretch]:
        return self.found.inside if self._place == "inside" else self.found.waited

    def _mark(self, at: datetime) -> None:
        if self._place != "inside" or self._marked is None or at <= self._marked:
            return
        for way in WAYS:
            self.found.levels[way]["lost" if self._lost is not None else self._level[way]] += at - self._marked
        self._marked = at
