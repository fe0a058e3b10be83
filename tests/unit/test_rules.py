"""The tables of admission and of rooms, walked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vardrum.control.visits import rules
from vardrum.control.visits.rules import Event, NotAllowed, RoomEvent, RoomState, State, after, room_after

S, E = State, Event


def test_every_state_has_a_row_and_nobody_is_invited_again() -> None:
    assert set(rules.TRANSITIONS) == set(State)
    assert S.INVITED not in {state for row in rules.TRANSITIONS.values() for state in row.values()}
    assert set(rules.ROOM_TRANSITIONS) == set(RoomState)


@pytest.mark.parametrize("state", [one for one in State if one is not S.INVITED])
def test_hold_and_remove_work_in_every_state_after_invited(state: State) -> None:
    assert after(state, E.HOLD) is S.WAITING
    assert after(state, E.REMOVE) is S.REMOVED


@pytest.mark.parametrize("event", [E.IDENTIFY, E.ADMIT, E.HOLD, E.DENY, E.REMOVE, E.LEAVE])
def test_nothing_is_done_to_somebody_who_has_not_come(event: Event) -> None:
    with pytest.raises(NotAllowed, match=f"cannot {event} someone who is invited"):
        after(S.INVITED, event)


def test_admit_undoes_denied_and_removed_and_nothing_else_but_waiting() -> None:
    admits = {state for state in State if rules.TRANSITIONS[state].get(E.ADMIT) is S.ADMITTED}
    assert admits == {S.WAITING, S.IDENTIFYING, S.ADMITTED, S.DENIED, S.REMOVED}


@given(st.lists(st.sampled_from(list(Event))))
def test_whoever_is_denied_or_removed_gets_in_only_by_a_host(events: list[Event]) -> None:
    state = S.REMOVED
    for event in events:
        if event in (E.ADMIT, E.HOLD):
            return
        try:
            state = after(state, event)
        except NotAllowed:
            continue
        assert state in (S.REMOVED, S.DENIED)


@given(st.lists(st.sampled_from([one for one in Event if one not in (E.ADMIT, E.RETURN)])))
def test_nobody_is_admitted_without_being_admitted(events: list[Event]) -> None:
    state = S.INVITED
    for event in events:
        try:
            state = after(state, event)
        except NotAllowed:
            continue
        assert state is not S.ADMITTED


@given(st.sampled_from(list(State)), st.sampled_from([E.IDENTIFY, E.ADMIT, E.HOLD, E.DENY, E.REMOVE]))
def test_doing_it_again_changes_nothing(state: State, event: Event) -> None:
    try:
        once = after(state, event)
    except NotAllowed:
        return
    assert after(once, event) is once


@given(st.lists(st.sampled_from(list(RoomEvent))))
def test_a_cancelled_room_stays_cancelled_and_an_ended_one_only_reopens(events: list[RoomEvent]) -> None:
    state = RoomState.SCHEDULED
    for event in events:
        former = state
        try:
            state = room_after(state, event)
        except NotAllowed:
            continue
        if former is RoomState.CANCELLED:
            assert state is RoomState.CANCELLED
        if former is RoomState.ENDED and state is not RoomState.ENDED:
            assert event is RoomEvent.REOPEN
        if former is RoomState.IN_PROGRESS:
            assert state is not RoomState.CANCELLED
