"""The visits of this installation: every act is one transaction, on disk before anyone hears of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from ..audit.acting import acting
from ..keyring import Keyring
from ..secret import Clock, Ids, Random
from ..secret import now as wall_clock
from ..store import audit, queries
from ..store.store import Busy, Db, Store, Transaction
from . import (
    admission,
    arrivals,
    bookings,
    erasure,
    fallback,
    feed,
    feedback,
    invitations,
    messages,
    views,
)
from .bookings import NewRoom
from .care_units import Units
from .contacts import Contacts, seal_plain
from .erasure import Erased
from .fallback import Mode, Outcome
from .invitations import NewParticipant
from .reading import Readings
from .refused import FieldError, Refused, TokenRefused
from .rules import INSIDE, LIVE, State
from .scene import LOST_FOR, REOPEN_WITHIN, Policy, Scene, World
from .subjects import Subjects
from .telling import MuteCallback, RoomCallback, Telling
from .values import Actor, EmbedToken, Invited, OpenedSession, Participant, RoomSnapshot, Session, Verb, Vouched

log = structlog.get_logger(__name__)


class Visits:
    """Rooms, people and admission; all rules are in `rules`, `identity` and their tables, all memory in the store.

    Methods that a portal reaches take `tenant`: whatever belongs to another tenant is refused as `not-found`.
    Everything raises `Refused`; nothing has changed then.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        keyring: Keyring,
        *,
        clock: Clock = wall_clock,
        random: Random = os.urandom,
    ) -> None:
        self.store = store
        self.subjects = Subjects(keyring)
        self.contacts = Contacts(keyring)
        self.policy = policy
        self.clock = clock
        self.random = random
        self._ids = Ids(random)
        self._readings = Readings(policy.read_again)
        self.units = Units(policy)
        self._telling = Telling()

    async def start(self) -> None:
        """After a restart nobody is connected until they say so; they have five minutes."""
        async with self._write(brief=False) as transaction:
            await queries.lose_everyone(transaction.db, self.clock())
            # Of before there was a keyring, and such numbers were kept as they came.
            marked = await queries.with_plain_subject(transaction.db)
            for one in marked:
                if one.expected_subject is not None:
                    one.expected_subject = self.subjects.mark(one.tenant, one.expected_subject)
        sealed = await seal_plain(self.store, self.contacts, replaced=bool(marked))
        if sealed:
            log.info("numbers and addresses that were kept plain are sealed", participants=sealed)

    # -- arriving --

    async def open_session(
        self, *, invite: str | None = None, embed_token: str | None = None, resume: str | None = None
    ) -> OpenedSession:
        """Exchanges one secret for a session (POST /v1/sessions); an embed_token may have a resume secret with it."""
        async with self._write() as transaction:
            world = self._world()
            if invite is not None and embed_token is None and resume is None:
                scene, opened = await arrivals.open_by_invite(world, transaction, invite)
            elif embed_token is not None and invite is None:
                scene, opened = await arrivals.open_by_embed_token(world, transaction, embed_token, resume)
            elif resume is not None and invite is None:
                scene, opened = await arrivals.open_by_resume(world, transaction, resume)
            else:
                detail = "expected one of invite, embed_token and resume"
                raise Refused("invalid-body", detail, errors=[FieldError("#", detail)])
            self._telling.after(transaction, scene)
        return opened

    async def session(self, token: str, *, after_end: timedelta = REOPEN_WITHIN) -> Session:
        """Whose token this is. Raises TokenRefused. An ended room's sessions are found until `reopen` is too late."""
        async with self._read() as db:
            found, renewed = await arrivals.by_token(db, token, self.clock(), after_end)
        if renewed:
            # The token that was given last is in use, so the answer that carried it arrived: the former one is done.
            async with self._write() as transaction:
                await arrivals.forget_former_token(transaction.db, found.id)
        return found

    async def hello(self, token: str, takes: Callable[[str], bool] = lambda room: True) -> Session:
        """The session with this token says `hello`: invited -> waiting, or straight in where the rules say so.

        Also writes down that it is connected. Raises TokenRefused as `session` does; Refused `not-open-yet`,
        `room-locked`, and `unavailable` where `takes` says that nobody new may come into this room now. Of a visit that
        has just ended, the session as it was left.
        """
        async with self._write() as transaction:
            scene, row = await arrivals.of_token(self._world(), transaction, token)
            if scene.state in LIVE:
                if not takes(scene.room.id):
                    raise Refused(
                        "unavailable", "the server is about to stop: come again in some seconds", retry_after=5
                    )
                arrivals.arrive(scene, row)
                self._telling.after(transaction, scene)
            return self._session(scene, row.id)

    async def arrive(self, session: str) -> Session:
        """As `hello`, of the session with this id. Raises Refused `session-replaced` too."""
        async with self._of_session(session) as scene:
            arrivals.arrive(scene, scene.sessions[session])
            return self._session(scene, session)

    async def leave(self, session: str) -> Session:
        """Leaves on their own account; a page that has left can come back."""
        async with self._of_session(session) as scene:
            arrivals.leave(scene, scene.sessions[session])
            return self._session(scene, session)

    async def connection(self, session: str, connected: bool, at: datetime | None = None) -> None:
        """Writes down that a session is connected, or lost since `at` (default now); five minutes later it has left.

        What isn't known any more (replaced, ended) is passed over: the network says so whenever it likes. Raises
        Refused `unavailable`.
        """
        try:
            async with self._of_session(session) as scene:
                if scene.state in LIVE:
                    arrivals.connect(scene, scene.sessions[session], connected, at or scene.now)
        except Refused as refused:
            if refused.name == "unavailable":
                raise

    async def happened(self, session: str, type: str, data: Mapping[str, str]) -> bool:
        """Writes down what media did to somebody; false where that has become meaningless, and nothing is written."""
        try:
            async with self._of_session(session) as scene:
                return arrivals.happened(scene, scene.sessions[session], type, data)
        except TokenRefused:
            return False

    async def rate(self, room: str, participant: str, technical: int | None, visit: int | None) -> None:
        """What a participant thought of the visit, 1 to 5; see `feedback.give`."""
        async with self._scene(room, None) as (scene, _):
            await feedback.give(scene, participant, technical, visit)

    # -- admission --

    async def act(
        self,
        room: str,
        participant: str,
        verb: Verb,
        by: Actor,
        *,
        session: str | None = None,
        reason: str | None = None,
        host: str | None = None,
        tenant: str | None = None,
    ) -> Participant:
        """identify, admit, hold, deny, remove, mute; `host` (identify by key) defaults to `by.participant`.

        When `by.participant` is set, that participant must be an admitted host of this room, else `not-allowed`.
        """
        async with self._scene(room, tenant) as (scene, transaction):
            admission.act(scene, participant, verb, by, session=session, reason=reason, host=host)
            if verb is Verb.MUTE:
                transaction.after_commit.append(lambda: self._telling.tell_mute(room, participant, by))
            return self._participant(scene, participant)

    async def record_identity(
        self,
        room: str,
        participant: str,
        method: str,
        by: Actor,
        *,
        document_type: str | None = None,
        session: str | None = None,
        tenant: str | None = None,
    ) -> Participant:
        """A host saw a document (`document`) or knows the person (`known_in_person`)."""
        async with self._scene(room, tenant) as (scene, _):
            admission.record_identity(scene, participant, method, by, document_type=document_type, session=session)
            return self._participant(scene, participant)

    async def identity_of(self, session: str, who: Vouched, by: Actor) -> dict[str, Any]:
        """What is kept of somebody whom a provider (`by`) knows, who logs in for this session. Raises TokenRefused."""
        async with self.store.read(brief=True) as db:
            row = await queries.session(db, session)
            participant = None if row is None else await queries.participant(db, row.participant)
        if participant is None:
            raise TokenRefused("token-not-accepted", "there is no such session")
        return admission.of_eid(participant, who, by, self.clock(), self.subjects)

    async def record_eid(self, session: str, kept: dict[str, Any]) -> tuple[Session, bool]:
        """Writes down what `identity_of` gave; the session, and whether it meets what the room demands."""
        async with self._of_session(session) as scene:
            counts = admission.record_eid(scene, scene.sessions[session], kept)
            return self._session(scene, session), counts

    async def reveal_phone(self, room: str, participant: str, by: Actor, *, tenant: str | None = None) -> str:
        """Somebody's number, as E.164, in a transaction: what is written down of it is on disk before it is said."""
        async with self._scene(room, tenant) as (scene, _):
            return fallback.reveal(scene, participant, by)

    async def use_fallback(
        self, room: str, participant: str, mode: Mode, outcome: Outcome, by: Actor, *, tenant: str | None = None
    ) -> Participant:
        """The visit, or a part of it, was held by phone or chat."""
        async with self._scene(room, tenant) as (scene, _):
            fallback.used(scene, participant, mode, outcome, by)
            return self._participant(scene, participant)

    async def lock(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        """No new arrivals any more; who was admitted still returns."""
        async with self._scene(room, tenant) as (scene, _):
            bookings.lock(scene, by, True)
            return scene.snapshot()

    async def unlock(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        """New arrivals may come again."""
        async with self._scene(room, tenant) as (scene, _):
            bookings.lock(scene, by, False)
            return scene.snapshot()

    async def end(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        """Ends the visit for everyone."""
        async with self._scene(room, tenant) as (scene, _):
            bookings.end(scene, by)
            return scene.snapshot()

    async def reopen(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        """Within ten minutes of the end; everyone may come back to where they were."""
        async with self._scene(room, tenant) as (scene, _):
            await bookings.reopen(scene, by)
            return scene.snapshot()

    # -- reading and hearing --

    async def snapshot(self, room: str, *, tenant: str | None = None) -> RoomSnapshot:
        """The room as it is on disk. Raises Refused `not-found`."""
        async with self._read() as db:
            row = await queries.room(db, room, tenant)
            if row is None:
                raise Refused("not-found", "there is no such room")
            people, sessions = await queries.people(db, room)
            unit = await self.units.of(db, row.tenant, row.care_unit_key)
            return views.snapshot(row, people, sessions, self.clock(), unit)

    async def latest(self, room: str) -> RoomSnapshot:
        """As `snapshot`, for whoever follows a room: out of memory, where that knows what the last commit left."""
        kept = self._telling.latest(room, self.clock())
        if kept is None:
            return await self.snapshot(room)
        unit = self.units.known(kept.tenant, kept.care_unit.key)
        if unit is None:
            async with self._read() as db:
                unit = await self.units.of(db, kept.tenant, kept.care_unit.key)
        return replace(kept, unit=unit)

    def subscribe(self, callback: RoomCallback) -> None:
        """`callback(room id)` is awaited after a commit that changed the room, never twice at once for one room.

        What changes while it runs is told in one further call, so a snapshot taken inside is never missed.
        """
        self._telling.subscribe(callback)

    def subscribe_mutes(self, callback: MuteCallback) -> None:
        """`callback(room, participant, by)` after an accepted `mute` of a microphone, which only memory knows."""
        self._telling.subscribe_mutes(callback)

    # -- used by the HTTP API and the app only --

    async def create_room(
        self, tenant: str, new: NewRoom, participants: Sequence[NewParticipant] = ()
    ) -> tuple[RoomSnapshot, list[Invited]]:
        """Makes a room, with the links of whoever is invited at once."""
        async with self._write() as transaction:
            scene = await bookings.create(self._world(), transaction, tenant, new)
            invited = await invitations.invite(scene, participants, None)
            for one in invited:
                await messages.invited(scene, one.participant.id, one.join_url)
            self._telling.after(transaction, scene)
            return scene.snapshot(), invited

    async def change_room(
        self, room: str, changes: Mapping[str, Any], *, version: int | None, tenant: str
    ) -> RoomSnapshot:
        """A merge patch that has been validated; `version` is If-Match, None for any."""
        async with self._scene(room, tenant) as (scene, _):
            _match(scene.room.version, version)
            starts_at = scene.room.starts_at
            await bookings.change(scene, changes)
            if scene.room.starts_at != starts_at:
                await messages.moved(scene)
            return scene.snapshot()

    async def cancel_room(self, room: str, *, tenant: str) -> None:
        """Refused while in progress."""
        async with self._scene(room, tenant) as (scene, _):
            bookings.cancel(scene)
            await messages.cancelled(scene)

    async def rooms(self, tenant: str, chosen: queries.RoomFilter, limit: int) -> tuple[list[RoomSnapshot], str | None]:
        """Up to `limit` rooms, and the id after which to go on."""
        async with self._read(brief=False) as db:
            return await bookings.page(db, tenant, chosen, limit, self.clock())

    async def events(self, tenant: str, after: int, limit: int) -> tuple[list[feed.Entry], int | None]:
        """Up to `limit` events after a position, and the position to go on after where there are more."""
        async with self._read(brief=False) as db:
            return await feed.page(db, tenant, after, limit)

    async def invite(
        self, room: str, new: NewParticipant, *, by: Actor | None = None, tenant: str | None = None
    ) -> Invited:
        """Adds somebody, with their link."""
        async with self._scene(room, tenant) as (scene, _):
            (invited,) = await invitations.invite(scene, [new], by)
            await messages.invited(scene, invited.participant.id, invited.join_url)
            return invited

    async def renew_link(
        self, room: str, participant: str, *, by: Actor | None = None, tenant: str | None = None
    ) -> Invited:
        """A new link instead of the old one."""
        async with self._scene(room, tenant) as (scene, _):
            invited = invitations.renew_link(scene, participant, by)
            await messages.invited(scene, participant, invited.join_url)
            return invited

    async def change_participant(
        self,
        room: str,
        participant: str,
        changes: Mapping[str, Any],
        *,
        version: int | None,
        by: Actor | None = None,
        tenant: str | None = None,
    ) -> Participant:
        """A merge patch that has been validated; `version` is If-Match, None for any."""
        async with self._scene(room, tenant) as (scene, _):
            _match(scene.participant(participant).version, version)
            different = invitations.change(scene, participant, changes, by)
            await messages.changed(scene, participant, different)
            return self._participant(scene, participant)

    async def withdraw(
        self, room: str, participant: str, *, by: Actor | None = None, tenant: str | None = None
    ) -> None:
        """Takes an invitation back."""
        async with self._scene(room, tenant) as (scene, _):
            row = scene.participant(participant)
            invitations.withdraw(scene, participant, by)
            await messages.withdrawn(scene, row)

    async def embed_token(
        self, room: str, participant: str, vouched: Vouched | None, *, tenant: str, by: Actor | None = None
    ) -> EmbedToken:
        """The portal (`by`) vouches for somebody it has logged in."""
        async with self._scene(room, tenant) as (scene, _):
            return await invitations.embed_token(scene, participant, vouched, by or Actor("portal", "portal"))

    async def seen(self, rooms: Sequence[RoomSnapshot], how: str) -> None:
        """Writes down that whoever calls is told of the people in these rooms; before they are.

        Args:
            how: `room`, `list`, `participant` or whatever else tells of them, such as `report`.
        """
        who, now = acting(), self.clock()
        fresh = self._readings.fresh(who, rooms, now)
        if not fresh:
            return
        async with self._write() as transaction:
            for room in fresh:
                audit.record(
                    transaction,
                    "room.read",
                    tenant=room.tenant,
                    at=now,
                    care_unit=room.care_unit.hsa_id or room.care_unit.name,
                    room=room.id,
                    patient_ref=room.patient_ref,
                    detail={"how": how},
                    random=self.random,
                )
        self._readings.written(who, fresh, now)

    async def erase_person(self, tenant: str, reference: str) -> Erased:
        """Erases whoever has this reference of the portal's: see `erasure.erase`."""
        async with self._write(brief=False) as transaction:
            erased, scenes = await erasure.erase(self._world(), transaction, tenant, reference)
            for scene in scenes:
                self._telling.after(transaction, scene)
        return erased

    async def staff_host(self, room: str, by: Actor, *, tenant: str) -> EmbedToken:
        """Staff come into a room as a host: as the host who is them (by `external_ref`), or as a new one."""
        async with self._scene(room, tenant) as (scene, _):
            host = await invitations.staff_host(scene, by)
            return await invitations.embed_token(scene, host, None, by)

    async def tick(self) -> None:
        """Opens and closes rooms, lets the lost leave; called once a second. One transaction a room."""
        await self._telling.tell_untold()
        now = self.clock()
        live, inside = [str(one) for one in LIVE], [str(one) for one in INSIDE]
        present = [str(one) for one in (State.WAITING, State.IDENTIFYING, State.ADMITTED)]
        async with self._read(brief=False) as db:
            opening = await queries.rooms_to_open(db, now)
            lost = await queries.sessions_lost(db, now - LOST_FOR, present)
            closing = await queries.rooms_to_close(db, now, live, inside)
        for room in opening:
            async with self._scene(room, None):
                pass  # reading a room that is due opens it
        for _, session in lost:
            async with self._of_session(session) as scene:
                row = scene.sessions[session]
                if row.lost_since is not None and scene.now - row.lost_since >= LOST_FOR:
                    arrivals.leave(scene, row, lost=True)
        for room in closing:
            async with self._scene(room, None) as (scene, _):
                if scene.state in LIVE and scene.room.closes_at <= scene.now and scene.inside() == 0:
                    bookings.end(scene, None)

    # -- inside --

    @asynccontextmanager
    async def _write(self, *, brief: bool = True) -> AsyncIterator[Transaction]:
        try:
            async with self.store.write(brief=brief) as transaction:
                yield transaction
        except Busy as busy:
            raise Refused("unavailable", str(busy), retry_after=1) from None

    @asynccontextmanager
    async def _read(self, *, brief: bool = True) -> AsyncIterator[Db]:
        try:
            async with self.store.read(brief=brief) as db:
                yield db
        except Busy as busy:
            raise Refused("unavailable", str(busy), retry_after=1) from None

    def _world(self) -> World:
        return World(self.policy, self.clock(), self._ids, self.random, self.subjects, self.contacts)

    @asynccontextmanager
    async def _scene(self, room: str, tenant: str | None) -> AsyncIterator[tuple[Scene, Transaction]]:
        async with self._write() as transaction:
            scene = await Scene.of(self._world(), transaction, room, tenant)
            yield scene, transaction
            self._telling.after(transaction, scene)

    @asynccontextmanager
    async def _of_session(self, session: str) -> AsyncIterator[Scene]:
        async with self._write() as transaction:
            row = await queries.session(transaction.db, session)
            if row is None:
                raise TokenRefused("token-not-accepted", "there is no such session")
            if row.closed_at is not None:
                raise TokenRefused("session-replaced", "another browser has taken this one's place")
            scene = await Scene.of(self._world(), transaction, row.room, None)
            if row.participant not in scene.participants:
                raise TokenRefused("session-replaced", "the invitation was taken back")
            yield scene
            self._telling.after(transaction, scene)

    def _participant(self, scene: Scene, participant: str) -> Participant:
        row = scene.participant(participant)
        return views.participant(row, scene.current(row))

    def _session(self, scene: Scene, session: str) -> Session:
        row = scene.sessions[session]
        return views.session(row, scene.participant(row.participant), scene.room, scene.now)


def _match(present: int, wanted: int | None) -> None:
    if wanted is not None and wanted != present:
        raise Refused("version-mismatch", "it has changed since you read it: read it again")
