"""What the engine and the listener are told of what is decided for a viewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from vardrum.sfu.adaptation import Adaptation
from vardrum.sfu.engine import CAMERA, Engine
from vardrum.sfu.place import Place
from vardrum.sfu.routing import Routing
from vardrum.sfu.types import Listener, Person, SlotView, Wish
from vardrum.tests.support.place import NOW, place

ANNA, BO = Person("anna", "admitted", host=True), Person("bo", "admitted")
PLENTY, ENOUGH, LITTLE, NONE = 3_000_000.0, 400_000.0, 150_000.0, 60_000.0


@dataclass
class Told:
    """A viewer's engine and the node's listener: they keep what they are told."""

    shown: list[tuple[tuple[int, int, int, int], bool]] = field(default_factory=list)
    paused: list[bool] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def show(
        self, viewer: int, slot: int, publisher: int, track: int, layer: int, temporal: int, *, asks: bool
    ) -> None:
        del viewer, slot
        if track == CAMERA or publisher == 0:
            self.shown.append(((publisher, track, layer, temporal), asks))

    def slots_changed(self, room: str, participant: str, slots: list[SlotView]) -> None:
        del room, participant
        self.paused.append(next(view.paused for view in slots if view.source == "camera"))

    def send_changed(self, room: str, participant: str, send: dict[str, object]) -> None:
        del room, send
        self.asked.append(participant)


class Visit:
    """Anna looks at Bo; only she is decided for, and time is told."""

    def __init__(self) -> None:
        self.now = NOW
        self.told = Told()
        self.place: Place = place(ANNA, BO)
        self.anna, self.bo = (self.place.peers[name] for name in ("anna", "bo"))
        self.place.room.views["anna"].wish([Wish("bo", "camera", 360)], None)
        for peer in self.place.peers.values():
            peer.shard.engine = cast("Engine", self.told)
        self.routing = Routing(cast("Listener", self.told), lambda: self.now)
        self.adaptation = Adaptation(cast("Listener", self.told), self.routing)

    def run(self, seconds: float, target: float) -> None:
        """Decides for Anna each 100 ms."""
        self.anna.target = target
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.adaptation._show(self.now, {self.anna.number: self.anna}, {"room": self.place})

    @property
    def slot(self) -> int:
        (want,) = self.anna.wants
        return want.slot

    def picture(self) -> None:
        """The engine says that a whole picture of Bo has gone out."""
        self.routing.picture("room", self.place, self.anna, self.slot)


def test_a_picture_that_comes_back_is_paused_until_it_has_gone_out() -> None:
    visit = Visit()
    visit.run(1, PLENTY)
    assert visit.told.paused == [False]
    visit.run(10, NONE)
    assert visit.told.paused == [False, True]
    visit.run(30, PLENTY)
    assert visit.told.shown[-1][0][0] == visit.bo.number, "the engine was told"
    assert visit.told.paused == [False, True]
    visit.picture()
    assert visit.told.paused == [False, True, False]
    visit.picture()
    visit.run(10, PLENTY)
    assert visit.told.paused == [False, True, False]


def test_a_camera_that_is_off_is_not_waited_for() -> None:
    visit = Visit()
    visit.run(1, PLENTY)
    visit.run(10, NONE)
    visit.run(30, PLENTY)
    visit.place.muted["bo"] = {"camera"}
    visit.run(1, PLENTY)
    assert visit.told.paused == [False, True, False]


def test_who_pauses_again_waits_again() -> None:
    visit = Visit()
    visit.run(1, PLENTY)
    for _ in range(2):
        visit.run(10, NONE)
        visit.run(150, PLENTY)
        assert visit.told.paused[-1]
        visit.picture()
        assert not visit.told.paused[-1]
    assert visit.told.paused == [False, True, False, True, False]


def test_in_a_fall_a_smaller_picture_is_asked_for_first_and_no_key_frame_of_the_larger() -> None:
    visit = Visit()
    visit.run(30, PLENTY)
    assert visit.told.shown[-1] == ((visit.bo.number, CAMERA, 1, 255), True)
    assert visit.told.asked == []
    visit.run(0.2, LITTLE)
    assert visit.told.asked == ["bo"]
    assert visit.told.shown[-1] == ((visit.bo.number, CAMERA, 0, 255), False)


def test_a_fall_to_a_layer_that_stays_as_it_is_asks_for_its_key_frame() -> None:
    visit = Visit()
    visit.run(30, PLENTY)
    visit.run(0.2, ENOUGH)
    assert visit.told.shown[-1] == ((visit.bo.number, CAMERA, 0, 255), True)
    assert visit.told.asked == []
