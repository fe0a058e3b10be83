"""Who may move from where to where in a room: the whole of admission, without I/O.

Every *arrival* (one browser that came by a link, an embed token or a login) walks through this table by itself; a
participant's state is that of their current arrival, `invited` while there is none. That is what keeps the first
browser undisturbed when the same link is opened in a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """What a room allows someone (CONTRACT, People)."""

    INVITED = "invited"
    WAITING = "waiting"
    IDENTIFYING = "identifying"
    ADMITTED = "admitted"
    LEFT = "left"
    DENIED = "denied"
    REMOVED = "removed"


class Event(StrEnum):
    """What can happen to an arrival."""

    ARRIVE = "arrive"  # by a link, or by a browser that wasn't admitted
    RETURN = "return"  # by the resume secret of the browser that was admitted, or vouched for as a host
    IDENTIFY = "identify"
    ADMIT = "admit"
    HOLD = "hold"
    DENY = "deny"
    REMOVE = "remove"
    LEAVE = "leave"  # said, or lost for five minutes


S, E = State, Event

# One row a state; what is not in the row is refused. Steps onto the same state are repetitions, which change nothing.
# No link leads back in for someone denied or removed: only a host does.
TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    S.INVITED: {E.ARRIVE: S.WAITING, E.RETURN: S.ADMITTED},
    S.WAITING: {
        E.ARRIVE: S.WAITING,
        E.RETURN: S.ADMITTED,
        E.IDENTIFY: S.IDENTIFYING,
        E.ADMIT: S.ADMITTED,
        E.HOLD: S.WAITING,
        E.DENY: S.DENIED,
        E.REMOVE: S.REMOVED,
        E.LEAVE: S.LEFT,
    },
    S.IDENTIFYING: {
        E.ARRIVE: S.IDENTIFYING,
        E.RETURN: S.IDENTIFYING,
        E.IDENTIFY: S.IDENTIFYING,
        E.ADMIT: S.ADMITTED,
        E.HOLD: S.WAITING,
        E.DENY: S.DENIED,
        E.REMOVE: S.REMOVED,
        E.LEAVE: S.LEFT,
    },
    S.ADMITTED: {
        E.ARRIVE: S.ADMITTED,
        E.RETURN: S.ADMITTED,
        E.ADMIT: S.ADMITTED,
        E.HOLD: S.WAITING,
        E.REMOVE: S.REMOVED,
        E.LEAVE: S.LEFT,
    },
    S.LEFT: {E.ARRIVE: S.WAITING, E.RETURN: S.ADMITTED, E.HOLD: S.WAITING, E.REMOVE: S.REMOVED, E.LEAVE: S.LEFT},
    S.DENIED: {
        E.ARRIVE: S.DENIED,
        E.RETURN: S.DENIED,
        E.ADMIT: S.ADMITTED,
        E.HOLD: S.WAITING,
        E.DENY: S.DENIED,
        E.REMOVE: S.REMOVED,
        E.LEAVE: S.DENIED,
    },
    S.REMOVED: {
        E.ARRIVE: S.REMOVED,
        E.RETURN: S.REMOVED,
        E.ADMIT: S.ADMITTED,
        E.HOLD: S.WAITING,
        E.REMOVE: S.REMOVED,
        E.LEAVE: S.REMOVED,
    },
}

# Admitted and identifying people have media, so both count towards `max_participants`.
INSIDE = frozenset({S.ADMITTED, S.IDENTIFYING})


class NotAllowed(Exception):
    """The event does not fit the state; nothing has changed."""


def after(state: State, event: Event) -> State:
    """The state that `event` leads to from `state`.

    Raises:
        NotAllowed: the table has no such step.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise NotAllowed(f"cannot {event} someone who is {state}") from None


class RoomState(StrEnum):
    """How far a visit has come (CONTRACT, HTTP)."""

    SCHEDULED = "scheduled"
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    ENDED = "ended"
    CANCELLED = "cancelled"


class RoomEvent(StrEnum):
    """What can happen to a room."""

    OPEN = "open"  # `opens_at` has come
    POSTPONE = "postpone"  # rescheduled so that `opens_at` is in the future again
    START = "start"  # a host and someone else are both connected
    END = "end"  # by a host, or `closes_at` with nobody inside
    REOPEN = "reopen"
    CANCEL = "cancel"


R, V = RoomState, RoomEvent

ROOM_TRANSITIONS: Mapping[RoomState, Mapping[RoomEvent, RoomState]] = {
    R.SCHEDULED: {V.OPEN: R.OPEN, V.POSTPONE: R.SCHEDULED, V.CANCEL: R.CANCELLED},
    R.OPEN: {V.OPEN: R.OPEN, V.POSTPONE: R.SCHEDULED, V.START: R.IN_PROGRESS, V.END: R.ENDED, V.CANCEL: R.CANCELLED},
    R.IN_PROGRESS: {V.OPEN: R.IN_PROGRESS, V.POSTPONE: R.IN_PROGRESS, V.START: R.IN_PROGRESS, V.END: R.ENDED},
    # Reopened, it is open; it is in progress again as soon as a host and someone else are connected.
    R.ENDED: {V.END: R.ENDED, V.REOPEN: R.OPEN},
    R.CANCELLED: {V.CANCEL: R.CANCELLED},
}

# What still can take place; an `external_ref` is taken while one of these has it.
LIVE = frozenset({R.SCHEDULED, R.OPEN, R.IN_PROGRESS})


def room_after(state: RoomState, event: RoomEvent) -> RoomState:
    """The room's state after `event`.

    Raises:
        NotAllowed: the table has no such step.
    """
    try:
        return ROOM_TRANSITIONS[state][event]
    except KeyError:
        raise NotAllowed(f"cannot {event} a room that is {state.replace('_', ' ')}") from None
