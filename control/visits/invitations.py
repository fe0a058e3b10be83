"""Who is invited to a room: their links, their data, and whom a portal vouches for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..keyring import Unreadable
from ..secret import digest, new_secret
from ..store import models, queries
from . import views
from .admission import of_eid
from .contacts import Kind as Contact
from .refused import FieldError, Refused
from .rules import INSIDE, LIVE, State
from .scene import Policy, Scene
from .values import Actor, EmbedToken, Invited, Role, Vouched

# A visit has a handful of people; more invitations than this are a mistake or worse.
MAX_INVITED = 64
# Fields that are kept sealed, beside the participant's others.
SEALED: Mapping[str, Contact] = {"phone": "phone", "email": "email"}
EMBED_FOR = timedelta(seconds=60)


@dataclass(frozen=True)
class NewParticipant:
    """Somebody to be invited; already validated field by field."""

    role: Role
    display_name: str
    host: bool = False
    sign_language: bool = False
    external_ref: str | None = None
    phone: str | None = None
    email: str | None = None
    language: str | None = None
    notify: bool = False
    expected_subject: str | None = None


async def invite(scene: Scene, new: Sequence[NewParticipant], by: Actor | None) -> list[Invited]:
    """Adds people with a link of their own each, also in mid-visit."""
    if by is not None:
        scene.need_authority(by)
    if scene.state not in LIVE:
        raise Refused("state-conflict", f"the room is {scene.state}")
    invited = [_add(scene, one, by) for one in new]
    # Messages to them refer to them, and the session doesn't put tables in order by itself.
    await scene.db.flush()
    return invited


def _add(scene: Scene, new: NewParticipant, by: Actor | None) -> Invited:
    if len(scene.participants) >= MAX_INVITED:
        raise Refused("room-full", f"{MAX_INVITED} people are invited already")
    if new.host and new.role is not Role.CAREGIVER:
        raise Refused(
            "invalid-body", "host doesn't fit", errors=[FieldError("#/host", "only a caregiver can be a host")]
        )
    secret = new_secret("", scene.world.random)
    participant_id = scene.world.ids.new("part")
    contacts = scene.world.contacts
    row = models.Participant(
        id=participant_id,
        tenant=scene.room.tenant,
        room=scene.room.id,
        role=new.role,
        host=new.host,
        display_name=new.display_name,
        sign_language=new.sign_language,
        external_ref=new.external_ref,
        phone_sealed=contacts.seal(participant_id, "phone", new.phone),
        email_sealed=contacts.seal(participant_id, "email", new.email),
        language=new.language,
        notify=new.notify,
        expected_subject=None
        if new.expected_subject is None
        else scene.world.subjects.mark(scene.room.tenant, new.expected_subject),
        link=digest(secret),
        session=None,
        created_at=scene.now,
        version=1,
    )
    scene.db.add(row)
    scene.participants[row.id] = row
    scene.note("participant.invited", row.id, by, role=str(new.role), host=new.host)
    return Invited(views.participant(row, None), link_of(scene.world.policy, scene.room.tenant, secret))


def renew_link(scene: Scene, participant_id: str, by: Actor | None) -> Invited:
    """A new link; the old one stops working, and who waits by it is closed."""
    if by is not None:
        scene.need_authority(by)
    if scene.state not in LIVE:
        raise Refused("state-conflict", f"the room is {scene.state}")
    participant = scene.participant(participant_id)
    secret = new_secret("", scene.world.random)
    participant.link = digest(secret)
    scene.changed = True
    scene.audit("participant.link_renewed", participant.id, by)
    for session in scene.open_sessions():
        by_link = session.participant == participant.id and not session.vouched and not session.admitted_browser
        if by_link and session.state in (State.INVITED, State.WAITING, State.IDENTIFYING, State.LEFT):
            scene.close(session)
            if participant.session == session.id:
                participant.session = None
    url = link_of(scene.world.policy, scene.room.tenant, secret)
    return Invited(views.participant(participant, scene.current(participant)), url)


def change(scene: Scene, participant_id: str, changes: Mapping[str, Any], by: Actor | None) -> frozenset[str]:
    """Corrects what is known about somebody, and says which of it was news; who they are is fixed once they arrived."""
    if by is not None:
        scene.need_authority(by)
    participant = scene.participant(participant_id)
    if scene.state not in LIVE:
        raise Refused("state-conflict", f"the room is {scene.state}")
    changes = _marked(scene, participant, changes)
    different = {name: value for name, value in changes.items() if _kept(scene, participant, name) != value}
    if scene.arrivals(participant) and {"role", "host", "expected_subject"} & set(different):
        raise Refused("state-conflict", "role, host and expected_subject are fixed once somebody has arrived")
    role, host = different.get("role", participant.role), different.get("host", participant.host)
    if host and role != Role.CAREGIVER:
        raise Refused(
            "invalid-body", "host doesn't fit", errors=[FieldError("#/host", "only a caregiver can be a host")]
        )
    for name, value in different.items():
        if name in SEALED:
            setattr(participant, f"{name}_sealed", scene.world.contacts.seal(participant.id, SEALED[name], value))
        else:
            setattr(participant, name, value)
    if different:
        participant.version += 1
        scene.note("room.updated", participant.id, by, act="participant.updated", fields=sorted(different))
    return frozenset(different)


def _kept(scene: Scene, participant: models.Participant, name: str) -> Any:
    if name not in SEALED:
        return getattr(participant, name)
    try:
        return scene.world.contacts.open(participant.id, SEALED[name], getattr(participant, f"{name}_sealed"))
    except Unreadable:
        return None  # then anything is news


def _marked(scene: Scene, participant: models.Participant, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes with a mark instead of `expected_subject`: the one that is kept, where it is the same person's."""
    subject = changes.get("expected_subject")
    if subject is None:
        return changes
    subjects, tenant, kept = scene.world.subjects, scene.room.tenant, participant.expected_subject
    same = subjects.expected(tenant, kept, subject)
    return {**changes, "expected_subject": kept if same else subjects.mark(tenant, subject)}


def withdraw(scene: Scene, participant_id: str, by: Actor | None) -> None:
    """Takes an invitation back; who is in the room must be removed first."""
    if by is not None:
        scene.need_authority(by)
    participant = scene.participant(participant_id)
    mine = [one for one in scene.open_sessions() if one.participant == participant.id]
    if any(one.state in INSIDE for one in mine):
        raise Refused("state-conflict", "they are in the room: remove them first")
    for session in mine:
        scene.close(session)
    participant.deleted_at = scene.now
    participant.link = None
    scene.note("room.updated", participant.id, by, act="participant.withdrawn", fields=["participants"])
    del scene.participants[participant.id]


async def embed_token(scene: Scene, participant_id: str, who: Vouched | None, by: Actor) -> EmbedToken:
    """What the portal's page opens a session with, once, within a minute."""
    if scene.state not in LIVE:
        raise Refused("gone", f"the visit is {scene.state}")
    participant = scene.participant(participant_id)
    # Tenant and participant stand in it in clear: the page must know where it is, and whether it has been here before.
    secret = f"{new_secret('vre_', scene.world.random, 32)}.{scene.room.tenant}.{participant.id}"
    await queries.forget_embed_tokens(scene.db, scene.now - EMBED_FOR)
    expires_at = scene.now + EMBED_FOR
    scene.db.add(
        models.EmbedToken(
            secret=digest(secret),
            participant=participant.id,
            identity=None if who is None else of_eid(participant, who, by, scene.now, scene.world.subjects),
            expires_at=expires_at,
        )
    )
    known = who and {"method": who.method, "level": who.level}
    scene.audit("participant.vouched", participant.id, by, identity=known)
    return EmbedToken(secret, expires_at)


async def staff_host(scene: Scene, by: Actor) -> str:
    """The id of the host who is this member of staff; invited now where there is none."""
    known = (one for one in scene.participants.values() if one.host and one.external_ref == by.id)
    found = next(known, None)
    if found is not None:
        return found.id
    new = NewParticipant(role=Role.CAREGIVER, display_name=by.name, host=True, external_ref=by.id)
    return (await invite(scene, [new], by))[0].participant.id


def link_of(policy: Policy, tenant: str, secret: str) -> str:
    """A personal link. Its secret is in the fragment, which browsers never send: no log and no Referer has it."""
    return f"{policy.public_url}/j/{tenant}#{secret}"
