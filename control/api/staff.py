"""/v1/staff and /v1/waiting: staff of a care unit, and who waits for them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..visits.refused import FieldError, Refused
from ..visits.staff import Member, Waiter
from ..visits.values import Actor, Connection, Role
from .bodies import ActorView, EmbedTokenView, IdentityView, LoginView
from .caller import Scope
from .fields import MISSING, Body, Name, Secret, Shown, View
from .rooms import after_cursor, cursor_of, unit_of
from .routing import Answer, Asked, Routes

routes = Routes()
TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class UserBody(Body):
    id: Name
    name: Name


class StaffBody(Body):
    """Somebody of a care unit's staff, whom the portal has logged in."""

    user: UserBody
    care_unit: Name


class StaffView(View):
    """A staff session; `token` is told only here."""

    token: str
    expires_at: Shown
    user: ActorView
    care_unit: str
    console_url: str | None = MISSING

    @classmethod
    def of(cls, token: str, member: Member, console_url: str | None = None) -> StaffView:
        return cls(
            token=token,
            expires_at=member.expires_at,
            user=ActorView(id=member.actor.id, name=member.actor.name),
            care_unit=member.care_unit,
            console_url=console_url,
        )


@routes.add("POST", "/v1/staff/sessions", scope=Scope.VOUCH, body=StaffBody, answer=StaffView, status=201)
async def open_session(asked: Asked) -> Answer:
    """Vouch for somebody of the staff; `console_url` opens their console, once, within 60 s."""
    body: StaffBody = asked.body
    who = Actor(body.user.id, body.user.name)
    token, member = await asked.staff.open(asked.tenant, who, body.care_unit)
    code = await asked.staff.code(asked.tenant, who, [body.care_unit])
    # The fragment has a code and not the token: what browsers remember of an address is worth nothing afterwards.
    return Answer(StaffView.of(token, member, f"{asked.public_url}/staff/{asked.tenant}#code={code}"), 201)


@routes.add("DELETE", "/v1/staff/sessions", scope=None, staff=True, replays=False, status=204)
async def close_session(asked: Asked) -> Answer:
    """Log out: the staff token that is sent is good no more."""
    await asked.staff.close(asked.known.secret)
    return Answer(status=204)


class CodeBody(Body):
    code: Secret
    care_unit: Name | None = None


@routes.add(
    "POST",
    "/v1/staff/codes",
    scope=None,
    body=CodeBody,
    answer=StaffView,
    status=201,
    problems=("token-not-accepted", "care-unit-needed"),
)
async def redeem(asked: Asked) -> Answer:
    """Exchange a console's one-time code for a staff session."""
    body: CodeBody = asked.body
    browser = asked.http.cookies.get(asked.logins.cookie)
    token, member = await asked.staff.redeem(body.code, browser, body.care_unit)
    return Answer(StaffView.of(token, member), 201)


class LoginsQuery(Body):
    tenant: TenantName


class LoginsView(View):
    items: list[LoginView]


@routes.add("GET", "/v1/staff/logins", scope=None, query=LoginsQuery, answer=LoginsView)
async def logins(asked: Asked) -> Answer:
    """List the providers that a tenant's staff log in by."""
    query: LoginsQuery = asked.query
    found = asked.logins.providers(query.tenant, staff=True)
    return Answer(LoginsView(items=[LoginView(provider=name, label=label) for name, label in found]))


class StaffStartBody(Body):
    tenant: TenantName


class StaffStartedView(View):
    location: str


@routes.add(
    "POST",
    "/v1/staff/oidc/{provider}/start",
    scope=None,
    body=StaffStartBody,
    answer=StaffStartedView,
)
async def start(asked: Asked) -> Answer:
    """Begin to log in as staff by a provider; the answer's cookie binds it to this browser."""
    body: StaffStartBody = asked.body
    cookie = asked.http.cookies.get(asked.logins.cookie)
    started = await asked.logins.start_staff(body.tenant, asked.path("provider"), cookie)
    return Answer(StaffStartedView(location=started.location), 200, asked.logins.set_cookie(started.cookie))


@routes.add(
    "POST",
    "/v1/rooms/{room}/host",
    scope=None,
    staff=True,
    answer=EmbedTokenView,
    status=201,
    problems=("gone", "room-full"),
)
async def host(asked: Asked) -> Answer:
    """Come into a room of one's care unit as a host (staff token): an embed_token, good once for 60 s."""
    token = await asked.visits.staff_host(asked.room, asked.acting, tenant=asked.tenant)
    return Answer(EmbedTokenView(embed_token=token.embed_token, expires_at=token.expires_at), 201)


class WaitingQuery(Body):
    care_unit: Name | None = None
    cursor: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 200


class WaitingView(View):
    """One arrival that waits; `reachable` is whether their page answers: a phone that fell asleep doesn't."""

    room: str
    title: str | None = MISSING
    training: bool
    participant: str
    session: str
    role: Role
    display_name: str
    state: Literal["waiting", "identifying"]
    since: Shown
    time_zone: str
    identity: IdentityView | None
    identified_as: str | None = MISSING
    expected: bool | None = MISSING
    connection: Connection
    reachable: bool

    @classmethod
    def of(cls, one: Waiter) -> WaitingView:
        identity, arrival = one.arrival.identity, one.arrival
        return cls(
            room=one.visit.id,
            title=one.visit.title,
            training=one.visit.training,
            participant=one.participant.id,
            session=arrival.session,
            role=one.participant.role,
            display_name=one.participant.display_name,
            state="identifying" if arrival.identifying_host is not None else "waiting",
            since=arrival.since,
            time_zone=one.visit.time_zone,
            identity=None if identity is None else IdentityView.of(identity),
            identified_as=None if identity is None else identity.name,
            expected=None if identity is None else identity.expected,
            connection=arrival.connection,
            reachable=arrival.connection == "connected",
        )


class WaitingList(View):
    items: list[WaitingView]
    next: str | None


@routes.add("GET", "/v1/waiting", scope=Scope.ADMISSION, staff=True, query=WaitingQuery, answer=WaitingList)
async def waiting(asked: Asked) -> Answer:
    """List who waits in all rooms of a care unit, in the order they came."""
    query: WaitingQuery = asked.query
    unit = unit_of(asked, query.care_unit)
    if unit is None:
        raise Refused("invalid-query", "care_unit is missing", errors=[FieldError("#/care_unit", "is missing")])
    found, last = await asked.staff.waiting(asked.tenant, unit, after_cursor(query.cursor), query.limit)
    await asked.visits.seen(list({one.visit.id: one.visit for one in found}.values()), "waiting")
    return Answer(WaitingList(items=[WaitingView.of(one) for one in found], next=cursor_of(last)))
