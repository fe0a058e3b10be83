"""Rows of the store as the plain values of `values`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from ..store import models
from .rules import RoomEvent, RoomState, State, room_after
from .values import (
    Actor,
    Arrival,
    CareUnit,
    Connection,
    Identity,
    Participant,
    Role,
    RoomSnapshot,
    Session,
    UnitSettings,
)


def actor(by: Actor) -> dict[str, str]:
    """An actor as it is kept and shown: `{"id", "name", "care_unit"?}`."""
    shown = {"id": by.id, "name": by.name}
    return shown if by.care_unit is None else {**shown, "care_unit": by.care_unit}


def acted(by: Actor) -> dict[str, str]:
    """An actor as events tell of them: whoever may know the name finds it by the id."""
    return {key: value for key, value in actor(by).items() if key != "name"}


def identity(kept: dict[str, Any] | None) -> Identity | None:
    if kept is None:
        return None
    return Identity(
        method=kept["method"],
        level=kept["level"],
        by=kept["by"],
        at=datetime.fromisoformat(kept["at"]),
        expected=kept.get("expected"),
        name=kept.get("name"),
    )


def room_state(room: models.Room, now: datetime) -> RoomState:
    """The room's state at `now`: a room is open from `opens_at`, also before anyone has written that down."""
    state = RoomState(room.state)
    if state is RoomState.SCHEDULED and room.opens_at <= now:
        return room_after(state, RoomEvent.OPEN)
    return state


def current(participant: models.Participant, sessions: Iterable[models.Session]) -> models.Session | None:
    """The arrival whose state is the participant's."""
    return next((one for one in sessions if one.id == participant.session), None)


def participant(row: models.Participant, arrival: models.Session | None) -> Participant:
    return Participant(
        id=row.id,
        room=row.room,
        role=Role(row.role),
        host=row.host,
        display_name=row.display_name,
        sign_language=row.sign_language,
        external_ref=row.external_ref,
        phone=row.phone_sealed,
        email=row.email_sealed,
        language=row.language,
        notify=row.notify,
        state=State.INVITED if arrival is None else State(arrival.state),
        connection="none" if arrival is None else cast(Connection, arrival.connection),
        identity=None if arrival is None else identity(arrival.identity),
        session=None if arrival is None else arrival.id,
        since=row.created_at if arrival is None else arrival.since,
        created_at=row.created_at,
        version=row.version,
    )


def session(row: models.Session, of: models.Participant, room: models.Room, now: datetime) -> Session:
    return Session(
        id=row.id,
        tenant=row.tenant,
        room=row.room,
        room_state=room_state(room, now),
        participant=row.participant,
        role=Role(of.role),
        host=of.host,
        display_name=of.display_name,
        state=State(row.state),
        current=of.session == row.id,
        admitted_browser=row.admitted_browser,
        identity=identity(row.identity),
        reason=row.reason,
        since=row.since,
    )


def arrival(row: models.Session, is_current: bool) -> Arrival:
    return Arrival(
        session=row.id,
        participant=row.participant,
        state=State(row.state),
        current=is_current,
        since=row.since,
        identity=identity(row.identity),
        identifying_host=row.identifying_host,
        reason=row.reason,
        connection=cast(Connection, row.connection),
    )


def snapshot(
    room: models.Room,
    participants: Iterable[models.Participant],
    sessions: Iterable[models.Session],
    now: datetime,
    unit: UnitSettings | None = None,
) -> RoomSnapshot:
    people = {one.id: one for one in participants}
    arrived = sorted(
        (one for one in sessions if one.arrived_at is not None and one.participant in people),
        key=lambda one: (one.arrived_at, one.id),
    )
    return RoomSnapshot(
        id=room.id,
        tenant=room.tenant,
        state=room_state(room, now),
        form=room.form,
        training=room.training,
        external_ref=room.external_ref,
        patient_ref=room.patient_ref,
        title=room.title,
        care_unit=CareUnit(**room.care_unit),
        starts_at=room.starts_at,
        ends_at=room.ends_at,
        opens_at=room.opens_at,
        closes_at=room.closes_at,
        time_zone=room.time_zone,
        language=room.language,
        max_participants=room.max_participants,
        locked=room.locked,
        identity_policy=dict(room.identity_policy),
        created_at=room.created_at,
        updated_at=room.updated_at,
        ended_at=room.ended_at,
        version=room.version,
        participants=tuple(participant(one, current(one, arrived)) for one in people.values()),
        arrivals=tuple(arrival(one, people[one.participant].session == one.id) for one in arrived),
        unit=unit or UnitSettings(),
    )
