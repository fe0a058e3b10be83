"""Coming, being lost, going: sessions of a room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from ..secret import digest, new_secret
from ..store import models, queries
from ..store.store import Db, Transaction
from . import care_units, views
from .identity import unmet
from .refused import Refused, TokenRefused
from .rules import INSIDE, LIVE, Event, RoomState, State
from .scene import REOPEN_WITHIN, Scene, World
from .values import Actor, CareUnit, Form, Function, OpenedSession, Role, Session

# One person opens a link in a few browsers at most; more is someone filling the queue of the staff.
MAX_WAITING = 8
MAX_UNUSED = 8
SECRETS = {"invite": "", "embed_token": "vre_", "resume": "vrr_"}


async def open_by_invite(world: World, transaction: Transaction, secret: str) -> tuple[Scene, OpenedSession]:
    """A link in a browser that has no session yet."""
    found = await queries.participant_by_link(transaction.db, digest(secret))
    if found is None:
        raise Refused("token-not-accepted", "this link isn't valid any more")
    participant, room = found
    scene = await Scene.in_room(world, transaction, room)
    scene.need_open()
    if scene.room.locked:
        raise Refused("room-locked", "the room is locked: nobody new is let in")
    if participant.role in care_units.ACCOMPANYING:
        await _need_link_join(scene, participant.id)
    return scene, await _open(scene, participant, vouched=False, identity=None)


async def _need_link_join(scene: Scene, participant_id: str) -> None:
    if await care_units.has(scene.db, scene.room, scene.world.policy, Function.LINK_JOIN):
        return
    if await queries.invited_by(scene.db, scene.room.id, participant_id) in scene.participants:
        return  # a host who invites somebody has decided that they may come by that link
    raise care_units.off(Function.LINK_JOIN, "this care unit lets relatives in through its portal only, not by a link")


async def open_by_embed_token(
    world: World, transaction: Transaction, secret: str, resume: str | None = None
) -> tuple[Scene, OpenedSession]:
    """Somebody whom the portal has logged in; with `resume`, in a browser that may have been here before."""
    found = await queries.embed_token(transaction.db, digest(secret))
    person = None if found is None else await queries.participant(transaction.db, found.participant)
    if found is None or person is None or person.deleted_at is not None or found.used_at is not None:
        raise Refused("token-not-accepted", "this embed_token isn't valid, or has been used")
    if found.expires_at <= world.now:
        raise Refused("token-not-accepted", "this embed_token has expired")
    scene = await Scene.of(world, transaction, person.room, None)
    scene.need_open()
    participant = scene.participant(person.id)
    former = None if resume is None else await queries.session_by_resume(transaction.db, digest(resume))
    if former is not None and former.participant == participant.id and former.closed_at is None:
        row = scene.sessions[former.id]
        # A host who waits comes in by the token, which takes a session of its own.
        if row.admitted_browser or not participant.host:
            found.used_at = world.now
            _vouch(scene, row, found.identity)
            return scene, _renew(scene, row, digest(resume or ""))
    if scene.room.locked:
        current = scene.current(participant)
        if current is None or not current.admitted_browser:
            raise Refused("room-locked", "the room is locked: nobody new is let in")
    found.used_at = world.now
    return scene, await _open(scene, participant, vouched=True, identity=found.identity)


async def open_by_resume(world: World, transaction: Transaction, secret: str) -> tuple[Scene, OpenedSession]:
    """A browser that comes back. Its secrets are renewed; the former ones work until the new ones are used."""
    used = digest(secret)
    row = await queries.session_by_resume(transaction.db, used)
    if row is None:
        raise Refused("token-not-accepted", "this resume secret isn't valid any more")
    if row.closed_at is not None:
        raise Refused("session-replaced", "another browser has taken this one's place, or the link was renewed")
    scene = await Scene.of(world, transaction, row.room, None)
    scene.need_open()
    return scene, _renew(scene, scene.sessions[row.id], used)


def _vouch(scene: Scene, session: models.Session, identity: dict[str, Any] | None) -> None:
    """The portal vouches again for somebody whose session goes on."""
    session.vouched = True
    if identity is None:
        return
    session.identity = identity
    if session.arrived_at is not None:
        by, method = Actor(**identity["by"]), identity["method"]
        scene.note("participant.identified", session.participant, by, session=session.id, method=method)


def _renew(scene: Scene, row: models.Session, used: bytes) -> OpenedSession:
    """New secrets for a session whose resume secret with the digest `used` was given."""
    world = scene.world
    token, resume = new_secret("vrs_", world.random, 32), new_secret(SECRETS["resume"], world.random, 32)
    if used == row.resume:
        # The latest secret was used, so its answer arrived: whatever came before is done with.
        row.former_resume = used
        row.former_token = row.token
    elif row.former_token is None:
        row.former_token = row.token
    row.resume, row.token = digest(resume), digest(token)
    return _opened(scene, row, token, resume)


async def _open(
    scene: Scene, participant: models.Participant, *, vouched: bool, identity: dict[str, Any] | None
) -> OpenedSession:
    waiting = [one for one in scene.arrivals(participant) if one.id != participant.session]
    if len(waiting) >= MAX_WAITING:
        raise Refused("too-many-requests", "this link waits in too many browsers already", retry_after=60)
    token = new_secret("vrs_", scene.world.random, 32)
    resume = new_secret(SECRETS["resume"], scene.world.random, 32)
    row = models.Session(
        id=scene.world.ids.new("sess"),
        tenant=scene.room.tenant,
        room=scene.room.id,
        participant=participant.id,
        token=digest(token),
        resume=digest(resume),
        state=State.INVITED,
        since=scene.now,
        vouched=vouched,
        admitted_browser=False,
        identity=identity,
        connection="none",
        created_at=scene.now,
    )
    scene.db.add(row)
    unused = [one.id for one in scene.sessions.values() if one.participant == participant.id and one.arrived_at is None]
    scene.sessions[row.id] = row
    if len(unused) >= MAX_UNUSED:
        await queries.forget_sessions(scene.db, sorted(unused)[: len(unused) - MAX_UNUSED + 1])
    if identity is not None:
        told: dict[str, Any] = {name: identity.get(name) for name in ("method", "level", "expected")}
        scene.note("participant.identified", participant.id, Actor(**identity["by"]), session=row.id, **told)
    return _opened(scene, row, token, resume)


def _opened(scene: Scene, row: models.Session, token: str, resume: str) -> OpenedSession:
    return OpenedSession(
        id=row.id,
        tenant=row.tenant,
        token=token,
        resume=resume,
        room=row.room,
        participant=row.participant,
        expires_at=scene.room.closes_at,
        care_unit=CareUnit(**scene.room.care_unit),
        title=scene.room.title,
        language=scene.participant(row.participant).language or scene.room.language,
        display_name=scene.participant(row.participant).display_name,
        form=cast(Form, scene.room.form),
        needs_eid=unmet(
            scene.room.identity_policy,
            Role(scene.participant(row.participant).role),
            views.identity(row.identity),
        )
        is not None,
    )


def arrive(scene: Scene, session: models.Session) -> None:
    """`hello`: who is new waits, unless the rules let them in at once; who was here is as before."""
    scene.need_open()
    participant = scene.participant(session.participant)
    if session.arrived_at is None:
        _first_hello(scene, participant, session)
    elif session.state == State.LEFT:
        _come_back(scene, participant, session)
    connect(scene, session, True, scene.now)


def _first_hello(scene: Scene, participant: models.Participant, session: models.Session) -> None:
    current = scene.current(participant)
    returning = current is not None and current.admitted_browser
    if scene.room.locked and not (session.vouched and returning):
        raise Refused("room-locked", "the room is locked: nobody new is let in")
    session.arrived_at = scene.now
    if current is not None and current.state in (State.DENIED, State.REMOVED):
        # No link leads back in for them; a host who changes their mind finds the browser they are at now.
        session.state, session.reason, session.since = current.state, current.reason, scene.now
        participant.session = session.id
        scene.changed = True
    elif needs_nobody(scene, participant, session):
        take_over(scene, participant, session)
        scene.move(session, Event.RETURN)
    else:
        if current is None or current.state == State.LEFT:
            participant.session = session.id
        scene.move(session, Event.ARRIVE)


def needs_nobody(scene: Scene, participant: models.Participant, session: models.Session) -> bool:
    """Whether nobody has to let them in: a host whom the portal vouches for, of whom all is known that must be."""
    current = scene.current(participant)
    by_link = scene.world.policy.hosts_by_link and (
        current is None or current is session or current.connection != "connected"
    )
    replaced = current if current is not None and current.state in INSIDE else None
    return (
        participant.host
        and (session.vouched or by_link)
        and unmet(scene.room.identity_policy, Role(participant.role), views.identity(session.identity)) is None
        and scene.inside(but=replaced) < scene.room.max_participants
    )


def _come_back(scene: Scene, participant: models.Participant, session: models.Session) -> None:
    full = scene.inside() >= scene.room.max_participants
    current = scene.current(participant)
    elsewhere = current is not None and current is not session and current.state in INSIDE
    if session.admitted_browser and not full and not elsewhere:
        participant.session = session.id
        scene.move(session, Event.RETURN)
        return
    if scene.room.locked and not session.admitted_browser:
        raise Refused("room-locked", "the room is locked: nobody new is let in")
    if current is None or current.state == State.LEFT:
        participant.session = session.id
    session.admitted_browser = False
    scene.move(session, Event.ARRIVE)


def _close_others(scene: Scene, participant: models.Participant, session: models.Session) -> None:
    """Only one browser of a participant may be in the room, or come back to it without waiting."""
    for one in scene.open_sessions():
        other = one.participant == participant.id and one is not session
        if other and (one.admitted_browser or one.id == participant.session):
            scene.close(one)


def take_over(scene: Scene, participant: models.Participant, session: models.Session) -> None:
    """The arrival becomes the participant's; the browser that was it before is closed."""
    _close_others(scene, participant, session)
    participant.session = session.id


def connect(scene: Scene, session: models.Session, connected: bool, at: datetime) -> None:
    """Writes down that a session is connected, or lost since `at`."""
    state = "connected" if connected else "lost"
    if session.connection == state or session.arrived_at is None:
        return
    session.connection = state
    session.lost_since = None if connected else at
    scene.note(f"participant.{state}", session.participant, session=session.id)
    scene.start_if_met()


def happened(scene: Scene, session: models.Session, type: str, data: Mapping[str, str]) -> bool:
    """Writes down what media did to somebody; whether it did. Who has left meanwhile has no trouble with media."""
    asked = data.get("reason") == "asked"  # that anyone may who is here, and those who wait do
    if scene.state not in LIVE or (State(session.state) not in INSIDE and not asked):
        return False
    figures: dict[str, Any] = dict(data)
    scene.note(type, session.participant, None, **figures)
    return True


def leave(scene: Scene, session: models.Session, *, lost: bool = False) -> None:
    """Said, or lost for five minutes. Who was denied or removed stays that."""
    scene.move(session, Event.LEAVE, lost=lost or None)
    connection = "lost" if lost else "none"
    if session.connection != connection:
        session.connection = connection
        scene.changed = True
    session.lost_since = None


async def by_token(db: Db, token: str, now: datetime, after_end: timedelta = REOPEN_WITHIN) -> tuple[Session, bool]:
    """Whose token this is, and whether a former one may be forgotten now.

    Args:
        after_end: how long after the end of the visit it is still accepted.

    Raises:
        TokenRefused
    """
    row, room = await _session_by_token(db, token)
    person = await queries.participant(db, row.participant)
    if person is None:
        raise TokenRefused("token-not-accepted", "this session token isn't valid")
    if person.deleted_at is not None:
        raise TokenRefused("session-replaced", "the invitation was taken back")
    _need_recent(room, now, after_end)
    return views.session(row, person, room, now), _renewed(row, token)


async def of_token(world: World, transaction: Transaction, token: str) -> tuple[Scene, models.Session]:
    """The room of the session with this token; a former one is forgotten. Raises TokenRefused."""
    row, room = await _session_by_token(transaction.db, token)
    scene = await Scene.in_room(world, transaction, room)
    if row.participant not in scene.participants:
        raise TokenRefused("session-replaced", "the invitation was taken back")
    _need_recent(scene.room, world.now, REOPEN_WITHIN)
    if _renewed(row, token):
        row.former_token = None
    return scene, row


async def _session_by_token(db: Db, token: str) -> tuple[models.Session, models.Room]:
    found = await queries.session_by_token(db, digest(token))
    if found is None:
        raise TokenRefused("token-not-accepted", "this session token isn't valid")
    row, room = found
    if row.closed_at is not None:
        raise TokenRefused("session-replaced", "another browser has taken this one's place, or the link was renewed")
    return row, room


def _need_recent(room: models.Room, now: datetime, after_end: timedelta) -> None:
    if views.room_state(room, now) not in LIVE:
        recent = room.state == RoomState.ENDED and room.ended_at is not None and now - room.ended_at <= after_end
        if not recent:
            raise TokenRefused("gone", "the visit is over")


def _renewed(row: models.Session, token: str) -> bool:
    """Whether the token that was given last is in use: the answer that carried it arrived, the former one is done."""
    return row.token == digest(token) and row.former_token is not None


async def forget_former_token(db: Db, session_id: str) -> None:
    """The token that was given last has been used."""
    row = await queries.session(db, session_id)
    if row is not None:
        row.former_token = None
