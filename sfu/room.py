"""Who may hear and see whom in one room, and in which slot: rules and bookkeeping without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .types import Person, Wish


def may_receive(viewer: Person, publisher: Person, people: Iterable[Person]) -> bool:
    """Whether `viewer` may hear and see `publisher`; the only place that decides.

    All admitted hear and see each other, but for those in an identification: the one who is being identified and
    the host who does it see each other, and nobody else sees or hears either, nor they anybody else.
    """
    if viewer.id == publisher.id:
        return False
    partners = _partners(people)
    if viewer.id in partners or publisher.id in partners:
        return partners.get(viewer.id) == publisher.id and partners.get(publisher.id) == viewer.id
    return viewer.state == "admitted" and publisher.state == "admitted"


def _partners(people: Iterable[Person]) -> Mapping[str, str]:
    """Both ways, who is alone with whom. A host looks at one document at a time: the first listed."""
    everyone = list(people)
    present = {person.id for person in everyone if person.state == "admitted"}
    partners: dict[str, str] = {}
    for person in everyone:
        if person.state != "identifying":
            continue
        host = person.with_host
        if host is not None and host in present and host not in partners:
            partners[person.id], partners[host] = host, person.id
        else:
            partners[person.id] = person.id  # alone
    return partners


@dataclass
class Pair:
    """Audio slot and video slot *i* of one viewer.

    Attributes:
        owner: whose it is; `former`: whose it was before.
        pictured: whose picture may have been shown in it last.
        wished: whether the owner's picture may be shown now.
    """

    owner: str | None = None
    former: str | None = None
    pictured: str | None = None
    wished: bool = False

    def allow(self, wished: bool) -> None:
        """Decides on the owner's picture, and remembers whose face has been there."""
        self.wished = wished
        if wished:
            self.pictured = self.owner


@dataclass
class View:
    """One viewer's slots and wishes, for a whole stay.

    Attributes:
        pairs: `max_participants` - 1 of them.
        wishes: as last said; None before the first.
        pin: whose picture this viewer has chosen to see first.
        freed: indices of pairs that had an owner, longest free first.
    """

    pairs: list[Pair]
    wishes: dict[tuple[str, str], int] | None = None
    pin: str | None = None
    freed: deque[int] = field(default_factory=deque)

    @classmethod
    def of(cls, max_participants: int) -> View:
        return cls([Pair() for _ in range(max_participants - 1)])

    def index(self, other: str) -> int | None:
        """The pair that is `other`'s."""
        return next((i for i, pair in enumerate(self.pairs) if pair.owner == other), None)

    def keep(self, others: Sequence[str]) -> None:
        """Gives everyone in `others` a pair for as long as they are in it, and frees those of all else.

        Who comes back gets the former pair while it is free; a pair that nobody has had comes next; freed ones are
        given out last, the longest free first.
        """
        present = set(others)
        for i, pair in enumerate(self.pairs):
            if pair.owner is not None and pair.owner not in present:
                pair.former, pair.owner = pair.owner, None
                self.freed.append(i)
        for other in others:
            if self.index(other) is None and (free := self._free_for(other)) is not None:
                pair = self.pairs[free]
                if free in self.freed:
                    self.freed.remove(free)
                # A face may only appear where another's was once the page has asked for it by name.
                pair.owner = other
                pair.allow(pair.pictured in (None, other))

    def _free_for(self, other: str) -> int | None:
        own = next((i for i in self.freed if self.pairs[i].former == other), None)
        if own is not None:
            return own
        fresh = (i for i, pair in enumerate(self.pairs) if pair.owner is None and pair.former is None)
        return next(fresh, self.freed[0] if self.freed else None)

    def wish(self, show: Sequence[Wish], pin: str | None = None) -> None:
        """Takes the whole list of pictures that are on screen."""
        self.pin = pin
        self.wishes = {(wish.participant, wish.source): wish.max_height for wish in show}
        for pair in self.pairs:
            pair.allow(pair.owner is not None and (pair.owner, "camera") in self.wishes)

    def camera_height(self, other: str) -> int | None:
        """How tall this viewer wants `other`'s camera, in pixels; None: not on screen."""
        i = self.index(other)
        if i is None:
            return None
        if self.wishes is not None and (other, "camera") in self.wishes:
            return self.wishes[other, "camera"]
        # Before the first wishes, and in a slot nobody had before, a camera is shown at its lowest layer.
        return 0 if self.pairs[i].wished else None

    def screen_height(self, other: str) -> int | None:
        """The same of the shared screen, which everyone is shown until wishes say otherwise."""
        if self.wishes is None:
            return 0
        return self.wishes.get((other, "screen"))


def ladder_for(max_height: int, heights: Mapping[int, int]) -> list[int]:
    """The layers that a picture may be shown in, the smallest first.

    The last is the smallest at least `max_height` pixels tall, or the tallest where none is; empty where none is sent.

    Args:
        heights: shorter side in pixels by layer, of the layers that there are.
    """
    rising = sorted(heights, key=lambda layer: (heights[layer], layer))
    tall_enough = next((i for i, layer in enumerate(rising) if heights[layer] >= max_height), len(rising) - 1)
    return rising[: tall_enough + 1]


class Room:
    """The people who may have media in a room, and everyone's view of the others."""

    def __init__(self, max_participants: int) -> None:
        self.max_participants = max_participants
        self.people: dict[str, Person] = {}
        self.views: dict[str, View] = {}
        self.sharer: str | None = None

    def set_people(self, persons: Sequence[Person], holding: Container[str] = ()) -> None:
        """Takes the whole list.

        Args:
            holding: who has a peer, in the list or not; someone put on hold keeps the slots' past with the peer.
        """
        self.people = {person.id: person for person in persons}
        for gone in self.views.keys() - self.people.keys():
            if gone in holding:
                self.views[gone].keep([])
            else:
                del self.views[gone]
        for viewer in self.people:
            view = self.views.setdefault(viewer, View.of(self.max_participants))
            view.keep([other for other in self.people if other != viewer])
        if self.sharer not in self.people:
            self.sharer = None

    def may_receive(self, viewer: str, publisher: str) -> bool:
        """Whether media may flow from `publisher` to `viewer` now."""
        if viewer not in self.people or publisher not in self.people:
            return False
        return may_receive(self.people[viewer], self.people[publisher], self.people.values())

    def seen_by(self, viewer: str) -> list[tuple[int, str]]:
        """Pair index and participant of everyone whom `viewer` may hear and see, in the order of the pairs."""
        view = self.views.get(viewer)
        if view is None:
            return []
        return [
            (i, pair.owner)
            for i, pair in enumerate(view.pairs)
            if pair.owner is not None and self.may_receive(viewer, pair.owner)
        ]
