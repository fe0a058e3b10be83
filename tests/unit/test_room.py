"""Who may hear and see whom, and in which slot."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vardrum.sfu.room import Room, View, ladder_for, may_receive
from vardrum.sfu.types import Person, Wish

HOST = Person("host", "admitted", host=True)
RELATIVE = Person("relative", "admitted")
PATIENT = Person("patient", "identifying", with_host="host")


def circle(*people: Person) -> set[tuple[str, str]]:
    """Every (viewer, publisher) that may be."""
    return {(a.id, b.id) for a, b in permutations(people, 2) if may_receive(a, b, people)}


def test_all_admitted_hear_and_see_each_other() -> None:
    third = Person("third", "admitted")
    assert circle(HOST, RELATIVE, third) == {(a.id, b.id) for a, b in permutations((HOST, RELATIVE, third), 2)}


def test_an_identification_is_between_two_and_the_room_goes_on_without_them() -> None:
    interpreter = Person("interpreter", "admitted")
    assert circle(HOST, RELATIVE, interpreter, PATIENT) == {
        ("host", "patient"),
        ("patient", "host"),
        ("relative", "interpreter"),
        ("interpreter", "relative"),
    }


def test_one_who_is_identified_by_nobody_present_is_alone() -> None:
    assert circle(RELATIVE, PATIENT) == set()


def test_a_host_looks_at_one_document_at_a_time() -> None:
    second = Person("second", "identifying", with_host="host")
    assert circle(HOST, PATIENT, second) == {("host", "patient"), ("patient", "host")}


people = st.lists(
    st.builds(
        Person,
        st.sampled_from("abcdef"),
        st.sampled_from(["admitted", "identifying"]),
        st.booleans(),
        st.sampled_from([None, *"abcdef"]),
    ),
    max_size=6,
    unique_by=lambda person: person.id,
)


@given(people)
def test_seeing_is_mutual_and_nobody_in_an_identification_sees_two(everyone: list[Person]) -> None:
    seen = circle(*everyone)
    assert all((b, a) in seen for a, b in seen)
    for person in everyone:
        if person.state == "identifying":
            assert sum(a == person.id for a, _ in seen) <= 1


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=4), max_size=12))
def test_a_pair_is_somebodys_for_the_whole_stay_and_never_shows_another_unasked(stays: list[list[str]]) -> None:
    view = View.of(5)
    shown: dict[int, str] = {}
    for others in stays:
        before = {pair.owner: i for i, pair in enumerate(view.pairs) if pair.owner}
        view.keep(others)
        owners = [pair.owner for pair in view.pairs if pair.owner]
        assert sorted(owners) == sorted(others), "everyone has one pair"
        for other in others:
            i = view.index(other)
            assert i is not None
            if other in before:
                assert before[other] == i, "moved during a stay"
            if view.camera_height(other) is not None:
                assert shown.get(i, other) == other, "a face where another's was, unasked"
                shown[i] = other


def test_a_freed_slot_is_given_out_last_and_waits_for_a_wish() -> None:
    view = View.of(4)
    view.keep(["anna", "bo"])
    view.keep(["bo"])
    view.keep(["bo", "cia"])
    assert view.index("cia") == 2, "a slot nobody had comes first"
    view.keep(["bo", "cia", "dan"])
    assert view.index("dan") == 0
    assert view.camera_height("dan") is None
    view.wish([Wish("dan", "camera", 180)])
    assert view.camera_height("dan") == 180
    assert view.camera_height("bo") is None, "what isn't listed isn't sent"


def test_who_comes_back_gets_the_former_pair() -> None:
    view = View.of(4)
    view.keep(["anna", "bo"])
    view.keep(["bo"])
    view.keep(["bo", "anna"])
    assert view.index("anna") == 0
    assert view.camera_height("anna") == 0


@pytest.mark.parametrize(
    ("max_height", "ladder"), [(0, [0]), (90, [0]), (240, [0]), (241, [0, 1]), (360, [0, 1]), (1080, [0, 1])]
)
def test_a_ladder_ends_at_the_smallest_layer_that_is_tall_enough(max_height: int, ladder: list[int]) -> None:
    assert ladder_for(max_height, {0: 240, 1: 360}) == ladder
    assert ladder_for(max_height, {1: 240, 0: 360}) == [1 - layer for layer in ladder]


def test_no_ladder_where_nothing_is_sent() -> None:
    assert ladder_for(360, {}) == []


def test_on_hold_one_keeps_the_slots_past_with_the_peer() -> None:
    room = Room(3)
    patient = Person("patient", "admitted")
    room.set_people([HOST, RELATIVE, patient])
    assert room.seen_by("patient") == [(0, "host"), (1, "relative")]
    room.set_people([HOST, RELATIVE], holding={"patient", "host", "relative"})
    assert room.seen_by("patient") == []
    assert [seen for _, seen in room.seen_by("host")] == ["relative"]
    room.set_people([RELATIVE, HOST, patient], holding={"patient", "host", "relative"})
    assert sorted(room.seen_by("patient")) == [(0, "host"), (1, "relative")]
    room.set_people([HOST], holding={"host"})
    assert set(room.views) == {"host"}
