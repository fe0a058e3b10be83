"""From a request to an answer: who calls, what they say, whether it was said before; rules are elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from ..audit.acting import acts
from ..oidc.logins import Logins
from ..secret import Clock, Random
from ..store.store import Busy, Store
from ..visits.care_units import CareUnits
from ..visits.refused import FieldError, Refused
from ..visits.reports import Reports
from ..visits.service import Visits
from ..visits.staff import PREFIX as STAFF_PREFIX
from ..visits.staff import Staff
from ..visits.statistics import Statisticians
from ..webhooks.service import Webhooks
from . import (
    admission,
    audit,
    caller,
    care_units,
    events,
    fallback,
    feedback,
    oidc,
    participants,
    people,
    problems,
    reports,
    rooms,
    sessions,
    staff,
    statistics,
    webhooks,
)
from .caller import ACTOR_HEADER, KEY_PREFIX, Caller, Scope
from .idempotency import HEADER as IDEMPOTENCY_HEADER
from .idempotency import Idempotency, Kept
from .patience import Patience
from .routing import JSON, Answer, Asked, Route

log = structlog.get_logger(__name__)

TABLE: tuple[Route, ...] = (
    *rooms.routes.table,
    *participants.routes.table,
    *admission.routes.table,
    *fallback.routes.table,
    *sessions.routes.table,
    *events.routes.table,
    *audit.routes.table,
    *people.routes.table,
    *webhooks.routes.table,
    *oidc.routes.table,
    *staff.routes.table,
    *care_units.routes.table,
    *feedback.routes.table,
    *reports.routes.table,
    *statistics.routes.table,
)
# Seconds for a body; somebody who sends a byte now and then mustn't hold a connection for long.
BODY_WITHIN = 20.0
# A reference of a portal's may have braces in it, which aiohttp leaves out by itself.
_NAMED = re.compile(r"{(\w+)}")
PATCH_TYPES = ("application/merge-patch+json", JSON)


class Api:
    """Answers the routes of `TABLE`."""

    def __init__(
        self,
        store: Store,
        visits: Visits,
        webhooks: Webhooks,
        *,
        logins: Logins,
        staff: Staff,
        public_url: str,
        patience: Patience,
        clock: Clock,
        random: Random,
        remote: Callable[[web.Request], str],
    ) -> None:
        self.store = store
        self.visits = visits
        self.webhooks = webhooks
        self.logins = logins
        self.staff = staff
        self.public_url = public_url
        self._patience = patience
        self._remote = remote
        self._care_units = CareUnits(store, visits.policy, clock, visits.units)
        self._reports = Reports(store, clock)
        self._statistics = Statisticians(store, clock)
        self._idempotency = Idempotency(store, clock, random)

    def routes(self, table: Iterable[Route] = TABLE) -> list[web.RouteDef]:
        """For `app.add_routes`."""
        return [web.route(one.method, _NAMED.sub(r"{\1:[^/]+}", one.path), self._handler(one)) for one in table]

    def _handler(self, route: Route) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                return await self._answer(route, request)
            except Refused as refused:
                if refused.status == 401:
                    self._patience.refused(self._remote(request))
                raise

        return handle

    async def _answer(self, route: Route, request: web.Request) -> web.Response:
        who = await self._caller(route, request)
        acting = self._actor(route, request, who)
        body = await _read(request)
        with acts(caller.acting(who, acting)):
            return await self._run(route, request, who, acting, body)

    async def _run(
        self, route: Route, request: web.Request, who: Caller | None, acting: Any, body: bytes
    ) -> web.Response:
        asked = Asked(
            http=request,
            visits=self.visits,
            webhooks=self.webhooks,
            logins=self.logins,
            staff=self.staff,
            care_units=self._care_units,
            reports=self._reports,
            statistics=self._statistics,
            public_url=self.public_url,
            caller=who,
            actor=acting,
            body=_body(route, request, body),
            query=_query(route, request),
            kinds=route.kinds,
        )
        key = request.headers.get(IDEMPOTENCY_HEADER)
        if key is None or who is None or route.method == "GET" or not route.replays:
            return _response(_kept(await route.handler(asked)))

        async def answer() -> Kept:
            return _kept(await route.handler(asked))

        def refuse(refused: Refused) -> Kept:
            shown = problems.response(refused, self.public_url)
            headers = {name: shown.headers[name] for name in ("Content-Type", "Retry-After") if name in shown.headers}
            return Kept(refused.status, headers, bytes(shown.body or b"").decode())  # type: ignore[arg-type]

        kept = await self._idempotency.once(key, who.secret, _fingerprint(request, body), answer, refuse)
        return _response(kept)

    async def _caller(self, route: Route, request: web.Request) -> Caller | None:
        if route.scope is None and not route.staff and not route.anyone:
            return None
        secret = caller.bearer(request.headers.get("Authorization"))
        if route.anyone:
            return _in_room(await caller.of_anyone(self.visits, secret, late=route.late), request)
        if secret.startswith(STAFF_PREFIX):
            return await self._staff(route, request, secret)
        if route.scope is None:
            raise Refused("not-allowed", "this call needs a staff token")
        if secret.startswith(KEY_PREFIX):
            who = await caller.of_key(self.store, secret)
            who.need(route.scope)
            return who
        who = await caller.of_session(self.visits, secret)
        if not route.hosts:
            raise Refused("not-allowed", "this call needs an API key")
        return _in_room(who, request)

    async def _staff(self, route: Route, request: web.Request, secret: str) -> Caller:
        who = await caller.of_staff(self.staff, secret)
        if not (route.hosts or route.staff) or who.staff is None:
            raise Refused("not-allowed", "this call needs an API key")
        if "room" in request.match_info:
            await self.staff.need_room(who.staff, request.match_info["room"])
        return who

    @staticmethod
    def _actor(route: Route, request: web.Request, who: Caller | None) -> Any:
        if who is None or who.person is not None or who.session is not None:
            return None
        named = caller.actor(request.headers.get(ACTOR_HEADER))
        if named is None and route.scope is Scope.ADMISSION:
            errors = [FieldError(f"#/{ACTOR_HEADER}", "is missing")]
            detail = f"this call needs {ACTOR_HEADER}: who is it that acts?"
            raise Refused("invalid-header", detail, errors=errors)
        return named


def _in_room(who: Caller, request: web.Request) -> Caller:
    """A session's token is good for its own room only."""
    if request.match_info.get("room", who.room) != who.room:
        raise Refused("not-found", "there is no such room")
    return who


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise Refused("invalid-body", "the body didn't come in time") from None


def _body(route: Route, request: web.Request, body: bytes) -> BaseModel | None:
    if route.body is None:
        return None
    if not body and route.body_optional:
        return route.body()
    accepted = PATCH_TYPES if route.method == "PATCH" else (JSON,)
    if request.content_type not in accepted:
        raise Refused("invalid-body", f"expected Content-Type {accepted[0]}")
    try:
        return route.body.model_validate_json(body)
    except ValidationError as error:
        if any(one["type"] == "json_invalid" for one in error.errors(include_url=False)):
            raise Refused("invalid-body", "the body isn't JSON") from None
        raise problems.of_validation(error, "invalid-body") from None


def _query(route: Route, request: web.Request) -> BaseModel | None:
    if route.query is None:
        return None
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            errors = [FieldError(f"#/{name[:100]}", "is given twice")]
            raise Refused("invalid-query", "the query doesn't fit", errors=errors)
        given[name] = value
    try:
        # All values of a query are text, so numbers and times are read from it.
        return route.query.model_validate_strings(given)
    except ValidationError as error:
        raise problems.of_validation(error, "invalid-query") from None


def _fingerprint(request: web.Request, body: bytes) -> bytes:
    """What makes two requests the same: also who acts, and which version is changed."""
    parts = [request.method, request.path_qs]
    parts += [request.headers.get(name, "") for name in (ACTOR_HEADER, "If-Match")]
    return json.dumps(parts).encode() + hashlib.sha256(body).digest()


def _kept(answer: Answer) -> Kept:
    headers = dict(answer.headers)
    if answer.body is None:
        return Kept(answer.status, headers, "")
    headers["Content-Type"] = answer.content_type
    text = answer.body if isinstance(answer.body, str) else answer.body.model_dump_json(by_alias=True)
    return Kept(answer.status, headers, text)


def _response(kept: Kept) -> web.Response:
    headers = dict(kept.headers)
    content_type = headers.pop("Content-Type", None)
    body = kept.body.encode() if kept.body or kept.status != 204 else None
    charset = "utf-8" if content_type is not None and content_type.startswith("text/") else None
    return web.Response(status=kept.status, body=body, content_type=content_type, charset=charset, headers=headers)


@web.middleware
async def refusals(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Everything that goes wrong anywhere, as a problem document."""
    public_url: str = request.app[PUBLIC_URL]
    try:
        return await handler(request)  # type: ignore[no-any-return]
    except Refused as refused:
        return problems.response(refused, public_url)
    except Busy as busy:
        return problems.response(Refused("unavailable", str(busy), retry_after=1), public_url)
    except web.HTTPException as error:
        found = problems.of_http_exception(error)
        if found is None:
            raise
        answer = problems.response(found, public_url)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:
        # The route's pattern, not the address: ids and what else stands in it belong to people.
        resource = request.match_info.route.resource
        log.exception("a request failed", method=request.method, route=resource.canonical if resource else None)
        return problems.response(Refused("internal-error", "the request couldn't be answered"), public_url)


PUBLIC_URL = web.AppKey("public_url", str)
