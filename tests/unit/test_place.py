"""What a node keeps of a room goes with whom it is about."""

from __future__ import annotations

from vardrum.sfu.place import Place
from vardrum.sfu.room import Room
from vardrum.sfu.types import Person


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    place = Place(Room(4))
    for number in range(100):
        place.room.set_people([Person("a", "admitted"), Person(f"b{number}", "admitted")])
        place.muted[f"b{number}"] = {"camera"}
        place.known.add(f"b{number}")
        place.forget_strangers()
    assert place.muted.keys() == place.known == {"b99"}
