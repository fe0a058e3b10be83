"""Who calls: an API key with its scopes, staff of a care unit, or somebody by the session token of a room."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from ..audit.acting import SYSTEM, Acting, Known
from ..secret import digest
from ..store import queries
from ..store.store import Store
from ..visits.feedback import AFTER_END
from ..visits.refused import FieldError, Refused
from ..visits.rules import State
from ..visits.scene import REOPEN_WITHIN
from ..visits.service import Visits
from ..visits.staff import Member, Staff
from ..visits.values import Actor, Session
from . import problems
from .fields import Body, Name

KEY_PREFIX = "vrk_"
ACTOR_HEADER = "Vardrum-Actor"
MAX_HEADER = 2000


class Scope(StrEnum):
    """What an API key may do (CONTRACT, HTTP)."""

    ROOMS_READ = "rooms:read"
    ROOMS_WRITE = "rooms:write"
    ADMISSION = "admission"
    VOUCH = "vouch"
    REPORTS = "reports"
    AUDIT = "audit"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Whoever has authenticated.

    Attributes:
        secret: the API key or token itself, to keep answers under.
        room: the only room that a host's token is good for; None for a key.
        host: the host, where the session token of one was given.
        session: whose session token was given, on a route that anyone in a room may call.
        staff: the member of staff, where a staff token was given.
    """

    id: str
    secret: str
    tenant: str
    scopes: frozenset[str]
    room: str | None = None
    host: Actor | None = None
    session: Session | None = None
    staff: Member | None = None

    @property
    def person(self) -> Actor | None:
        """The person behind the credentials themselves; None for a key, whose portal names one."""
        return self.host or (self.staff.actor if self.staff else None)

    def need(self, scope: Scope) -> None:
        """Raises Refused `not-allowed` where a key lacks the scope."""
        if self.person is None and scope not in self.scopes:
            raise Refused("not-allowed", f"this API key hasn't the scope {scope}")


def bearer(header: str | None) -> str:
    """The credentials of an `Authorization` header (RFC 6750, section 2.1). Raises Refused `not-authenticated`."""
    scheme, _, secret = (header or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise Refused("not-authenticated", "expected Authorization: Bearer and an API key or session token")
    if len(secret) > MAX_HEADER or not secret.isascii():
        raise Refused("not-authenticated", "these credentials aren't accepted")
    return secret


async def of_key(store: Store, secret: str) -> Caller:
    """Raises Refused `not-authenticated`."""
    async with store.read(brief=True) as db:
        row = await queries.api_key(db, digest(secret))
    if row is None or row.revoked_at is not None:
        raise Refused("not-authenticated", "this API key isn't accepted")
    return Caller(id=row.id, secret=secret, tenant=row.tenant, scopes=frozenset(row.scopes))


async def of_anyone(visits: Visits, token: str, *, late: bool = False) -> Caller:
    """Anybody with a session, `late` also for a while after the end. Raises what the token is refused for."""
    if token.startswith(KEY_PREFIX):
        raise Refused("not-allowed", "this call needs the session token of somebody in the room")
    session = await visits.session(token, after_end=AFTER_END if late else REOPEN_WITHIN)
    return Caller(
        id=session.id, secret=token, tenant=session.tenant, scopes=frozenset(), room=session.room, session=session
    )


async def of_staff(staff: Staff, token: str) -> Caller:
    """A member of staff. Raises Refused `not-authenticated`."""
    member = await staff.member(token)
    return Caller(id=member.id, secret=token, tenant=member.tenant, scopes=frozenset(), staff=member)


async def of_session(visits: Visits, token: str) -> Caller:
    """A host who is admitted. Raises Refused `not-authenticated`, `not-allowed`, or what the token is refused for."""
    session = await visits.session(token)
    if not (session.host and session.current and session.state is State.ADMITTED):
        raise Refused("not-allowed", "only a host who is admitted to the room may do this")
    actor = Actor(id=session.participant, name=session.display_name, participant=session.participant)
    return Caller(id=session.id, secret=token, tenant=session.tenant, scopes=frozenset(), room=session.room, host=actor)


def acting(who: Caller | None, named: Actor | None) -> Acting:
    """Who acts, for the audit trail: a host, whom the key's portal names, or the key where it names nobody."""
    if who is None:
        return SYSTEM
    if who.host is not None:
        return Acting(Known.HOST, who.host.id, who.host.name, who.host.care_unit)
    if who.staff is not None:
        person = who.staff.actor
        return Acting(Known.STAFF, person.id, person.name, person.care_unit)
    if who.session is not None:
        return Acting(Known.PARTICIPANT, who.session.participant, who.session.display_name)
    if named is None:
        return Acting(Known.KEY, who.id, key=who.id)
    return Acting(Known.KEY, named.id, named.name, named.care_unit, who.id)


class ActorBody(Body):
    id: Name
    name: Name
    care_unit: Name | None = None


def actor(header: str | None) -> Actor | None:
    """The acting person that a portal names; None where it names nobody. Raises Refused `invalid-header`."""
    if header is None:
        return None
    expected = 'base64url of {"id", "name", "care_unit"}'
    try:
        if len(header) > MAX_HEADER:
            raise ValueError
        text = base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
        person = ActorBody.model_validate_json(text)
    except ValidationError as error:
        raise problems.of_validation(error, "invalid-header", f"#/{ACTOR_HEADER}") from None
    except (ValueError, binascii.Error):
        errors = [FieldError(f"#/{ACTOR_HEADER}", f"expected {expected}")]
        raise Refused("invalid-header", f"{ACTOR_HEADER} can't be read", errors=errors) from None
    return Actor(id=person.id, name=person.name, care_unit=person.care_unit)
