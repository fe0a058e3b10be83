"""What a node keeps of a room goes with whom it is about; what its viewers want follows people, cameras and devices."""

from __future__ import annotations

from vardrum.sfu.allocation import Allocation, Past, Priority, Sound, Want, allocate
from vardrum.sfu.demand import needs
from vardrum.sfu.engine import CAMERA, MICROPHONE, Layer
from vardrum.sfu.peer import EXPECTED
from vardrum.sfu.place import Place, unmeasured
from vardrum.sfu.room import Room
from vardrum.sfu.types import Device, DeviceStats, Person, Wish
from vardrum.tests.support.place import NOW, place

ANNA, BO, CAI = Person("anna", "admitted", host=True), Person("bo", "admitted"), Person("cai", "admitted")
INTERPRETER = Person("ines", "admitted", sign_language=True)


def wants(found: Place, viewer: str, now: float = NOW) -> dict[str, Want]:
    """What a viewer wants, by whose camera it is."""
    names = {peer.number: name for name, peer in found.peers.items()}
    return {names[want.who[0]]: want for want in found.wants(found.peers[viewer], now, unmeasured)}


def wish(found: Place, viewer: str, height: int, pin: str | None = None) -> None:
    others = [person for person in found.room.people if person != viewer]
    found.room.views[viewer].wish([Wish(other, "camera", height) for other in others], pin)


def decide(found: Place, viewer: str, target: float, seconds: float = 30.0) -> Allocation:
    """A viewer's allocation after some time with so much room."""
    peer = found.peers[viewer]
    peer.target = target
    for tick in range(round(seconds * 10)):
        now = NOW + tick / 10
        peer.wants = found.wants(peer, now, unmeasured)
        peer.allocation = allocate(now, target, 2, peer.wants, peer.allocation, speaking=1)
    return peer.allocation


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    place = Place(Room(4))
    for number in range(100):
        place.room.set_people([Person("a", "admitted"), Person(f"b{number}", "admitted")])
        place.muted[f"b{number}"] = {"camera"}
        place.known.add(f"b{number}")
        place.forget_strangers()
    assert place.muted.keys() == place.known == {"b99"}


def test_before_the_first_wishes_everyone_is_wanted_at_their_lowest_layer() -> None:
    found = wants(place(ANNA, BO, CAI), "anna")
    assert {name: [(o.layer, o.temporal) for o in want.options] for name, want in found.items()} == {
        "bo": [(0, 0), (0, 255)],
        "cai": [(0, 0), (0, 255)],
    }


def test_a_wish_decides_how_high_the_ladder_is() -> None:
    room = place(ANNA, BO, CAI)
    wish(room, "anna", 360)
    assert [option.layer for option in wants(room, "anna")["bo"].options] == [0, 0, 1]
    wish(room, "anna", 200)
    assert [option.layer for option in wants(room, "anna")["bo"].options] == [0, 0]


def test_the_interpreter_and_who_is_pinned_come_before_who_speaks() -> None:
    room = place(ANNA, BO, CAI, INTERPRETER)
    room.speakers.update({"bo": 100.0, "anna": 100.0}, NOW)
    assert {name: want.priority for name, want in wants(room, "anna").items()} == {
        "bo": Priority.ACTIVE,
        "cai": Priority.OTHER,
        "ines": Priority.CHOSEN,
    }
    wish(room, "anna", 360, pin="cai")
    assert wants(room, "anna")["cai"].priority == Priority.CHOSEN
    # Who spoke last is still listened to, and nobody listens to themselves.
    room.speakers.update({"bo": 0.0}, NOW + 1)
    assert wants(room, "cai")["anna"].priority == Priority.ACTIVE
    assert wants(room, "anna")["bo"].priority == Priority.ACTIVE


def test_a_camera_that_is_off_or_never_came_is_wanted_for_nothing() -> None:
    room = place(ANNA, BO, CAI)
    bo, cai = room.peers["bo"], room.peers["cai"]
    room.muted["bo"] = {"camera"}
    assert wants(room, "anna")["bo"].off
    assert not wants(room, "anna")["cai"].off
    room.muted.clear()
    for layer in (0, 1):
        cai.on_layer(Layer(cai.number, CAMERA, layer, False, 0, 0), NOW)
    assert wants(room, "anna")["cai"].off, "it came and went"
    bo.layers.clear()
    bo.first_layer.clear()
    bo.started = NOW
    assert not wants(room, "anna", NOW + EXPECTED)["bo"].off, "it is waited for"
    assert wants(room, "anna", NOW + EXPECTED + 0.1)["bo"].off


def test_who_is_muted_does_not_need_room_for_sound() -> None:
    room = place(ANNA, BO)
    bo = room.peers["bo"]
    assert room.may_speak(bo)
    room.muted["bo"] = {"microphone"}
    assert not room.may_speak(bo)
    room.muted.clear()
    bo.on_layer(Layer(bo.number, MICROPHONE, 0, False, 0, 0), NOW)
    assert not room.may_speak(bo)


def test_a_cheap_phone_gets_no_more_lines_than_it_bears() -> None:
    room = place(ANNA, BO, devices={"bo": Device(memory=2, cores=4, mobile=True)})
    anna, bo = room.peers["anna"], room.peers["bo"]
    anna.on_layer(Layer(anna.number, CAMERA, 1, True, 640, 480), NOW)
    wish(room, "bo", 480)
    assert [option.layer for option in wants(room, "bo")["anna"].options] == [0, 0]
    # Overload takes away more than the class does.
    anna.on_layer(Layer(anna.number, CAMERA, 1, True, 640, 360), NOW)
    assert [option.layer for option in wants(room, "bo")["anna"].options] == [0, 0, 1]
    for second in range(2, 30, 2):
        stats = DeviceStats(2.0, decoded=30, dropped=20, decode_ms=80, pictures=1, height=360)
        bo.device.report(NOW + second, stats)
    assert [option.layer for option in wants(room, "bo")["anna"].options] == [0, 0]


def test_of_those_who_speak_at_once_the_longest_speaking_are_forwarded() -> None:
    room = place(ANNA, BO, CAI)
    anna = room.peers["anna"]
    room.speakers.update({"cai": 100.0}, NOW - 2)
    room.speakers.update({"cai": 100.0, "bo": 100.0}, NOW - 1)
    heard = {slot: publisher.participant for slot, publisher in room.heard(anna)}

    def forwarded() -> set[str]:
        return {heard[slot] for slot in room.wanted(anna, []) if slot in heard}

    assert forwarded() == {"bo", "cai"}
    anna.allocation = Allocation(sound=Sound.SPEAKERS, voices=1)
    assert forwarded() == {"cai"}


def test_slots_say_which_pictures_are_paused() -> None:
    room = place(ANNA, BO)
    anna = room.peers["anna"]
    slot = anna.video_slot(0)
    assert slot is not None
    anna.allocation = Allocation({slot: Past((2, CAMERA), paused=True)})
    assert [(view.participant, view.source, view.paused) for view in room.views(anna)] == [
        ("bo", "microphone", False),
        ("bo", "camera", True),
    ]


def test_the_upper_layer_is_needed_where_it_is_shown_or_fits() -> None:
    room = place(ANNA, BO)
    wish(room, "anna", 360)
    decide(room, "anna", 3_000_000)
    assert needs(room, room.peers["bo"]).camera == {0: 10_000_000, 1: None}
    decide(room, "anna", 400_000)
    assert needs(room, room.peers["bo"]).camera == {0: None}


def test_who_only_starved_viewers_watch_is_asked_to_be_smaller() -> None:
    room = place(ANNA, BO, CAI)
    for viewer in ("anna", "cai"):
        wish(room, viewer, 360)
    decide(room, "anna", 250_000)
    decide(room, "cai", 3_000_000)
    share = room.peers["anna"].allocation.shares
    assert len(share) == 2
    asked = needs(room, room.peers["bo"]).camera
    assert asked[0] == int(next(iter(share.values())) - 13_000)
    assert asked[1] is None
    # Somebody with room enough who looks at the small picture wants it as it is.
    wish(room, "cai", 240)
    decide(room, "cai", 3_000_000)
    assert needs(room, room.peers["bo"]).camera[0] is None
