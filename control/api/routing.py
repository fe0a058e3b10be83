"""The route table: what each address takes, who may call it, and what it answers. OpenAPI is made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from ..oidc.logins import Logins
from ..secret import ID
from ..visits.care_units import CareUnits
from ..visits.contacts import Contacts
from ..visits.refused import Refused
from ..visits.reports import Reports
from ..visits.service import Visits
from ..visits.staff import Staff
from ..visits.statistics import Statisticians
from ..visits.values import Actor, Session
from ..webhooks.service import Webhooks
from .accept import preferred
from .caller import Caller, Scope

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What a handler answers; the body is a view, or nothing, or a text of another kind than JSON."""

    body: BaseModel | str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True)
class Asked:
    """A request that has been authenticated, read and checked."""

    http: web.Request
    visits: Visits
    webhooks: Webhooks
    logins: Logins
    staff: Staff
    care_units: CareUnits
    reports: Reports
    statistics: Statisticians
    public_url: str
    caller: Caller | None
    actor: Actor | None
    body: Any
    query: Any
    kinds: tuple[str, ...] = ()

    def path(self, name: str) -> str:
        return self.http.match_info[name]

    @property
    def room(self) -> str:
        """Raises Refused `not-found` for what is no id: PostgreSQL can't be asked for every text."""
        room = self.path("room")
        if not ID.fullmatch(room):
            raise Refused("not-found", "there is no such room")
        return room

    @property
    def participant(self) -> str:
        return self.path("part")

    @property
    def known(self) -> Caller:
        """The caller of a route that demands one."""
        if self.caller is None:
            raise RuntimeError("this route has no caller")
        return self.caller

    @property
    def tenant(self) -> str:
        return self.known.tenant

    @property
    def by(self) -> Actor | None:
        """Who acts: the host or the member of staff whose token it is, or whom the portal names."""
        return self.known.person or self.actor

    @property
    def session(self) -> Session:
        """Whose session it is, on a route for anyone in a room."""
        if self.known.session is None:
            raise RuntimeError("this route has no session")
        return self.known.session

    @property
    def acting(self) -> Actor:
        """Who acts, on a route that demands to know."""
        if self.by is None:
            raise RuntimeError("this route has no actor")
        return self.by

    @property
    def contact(self) -> Contacts | None:
        """What opens phone numbers and addresses, for portals; hosts and staff aren't shown any."""
        return self.visits.contacts if self.known.person is None else None

    @property
    def kind(self) -> str:
        """What the body of the answer is to be: JSON, or one of the route's `kinds` where that is preferred."""
        return preferred(self.http.headers.get("Accept"), (JSON, *self.kinds))

    @property
    def wanted_version(self) -> int | None:
        """If-Match, where it may be missing. Raises Refused `version-mismatch`."""
        return self.version() if "If-Match" in self.http.headers else None

    def version(self) -> int | None:
        """If-Match (RFC 9110, section 13.1.1); None for `*`. Raises Refused `version-mismatch`."""
        given = self.http.headers.get("If-Match")
        if given is None:
            raise Refused("version-mismatch", "expected If-Match with the ETag that was read")
        if given.strip() == "*":
            return None
        text = given.strip().removeprefix('"').removesuffix('"')
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise Refused("version-mismatch", "this If-Match isn't an ETag of ours")
        return int(text)


Handler = Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One row of the contract's table.

    Attributes:
        scope: what a key needs; None where anyone may call.
        hosts: whether a host's session token will do for its own room, and a staff token for its care unit's (◆).
        staff: whether a staff token will do.
        anyone: whether it takes the session token of anyone in a room, and no key.
        late: whether that is taken for a while after the end of the visit too.
        replays: whether an Idempotency-Key is heeded; not where a network is waited for, or a browser is told.
        body: model of the request's body; a body that may be missing is read as `{}`.
        if_match: whether a PUT heeds If-Match where it is given.
        answer: model of the answer's body.
        kinds: what else than JSON the answer can be, by `Accept`.
        problems: names of refusals beside those that every route has.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | None
    hosts: bool = False
    staff: bool = False
    anyone: bool = False
    late: bool = False
    replays: bool = True
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    if_match: bool = False
    answer: type[BaseModel] | None = None
    kinds: tuple[str, ...] = ()
    status: int = 200
    problems: tuple[str, ...] = ()


class Routes:
    """Collects the rows of one resource."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def add(self, method: str, path: str, *, scope: Scope | None, **more: Any) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            summary = (handler.__doc__ or "").strip().partition("\n")[0]
            self.table.append(Route(method, path, handler, summary, scope, **more))
            return handler

        return register


def etag(version: int) -> dict[str, str]:
    """The header that a PATCH must repeat as If-Match."""
    return {"ETag": f'"{version}"'}
