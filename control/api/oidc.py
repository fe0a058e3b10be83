"""/v1/oidc: identity by a provider. The callback is no call, but where a browser comes back to."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from aiohttp import web

from ..oidc.logins import Logins
from ..visits.refused import Refused
from .bodies import IdentityView
from .fields import Body, Language, Secret, View
from .patience import Patience
from .routing import Answer, Asked, Routes

routes = Routes()
# What a provider sends is bounded by nobody else: addresses of 8 kB and more reach us.
MAX_PARAMETER = 4096
PARAMETERS = ("state", "code", "iss", "error")


class StartBody(Body):
    language: Language | None = None


class StartedView(View):
    location: str


class FinishBody(Body):
    code: Secret


class FinishedView(View):
    """What is known now; `counts` says whether it meets what the room demands."""

    identity: IdentityView
    counts: bool
    expected: bool


@routes.add(
    "POST",
    "/v1/oidc/{provider}/start",
    scope=None,
    anyone=True,
    replays=False,
    body=StartBody,
    body_optional=True,
    answer=StartedView,
    problems=("state-conflict", "function-off"),
)
async def start(asked: Asked) -> Answer:
    """Begin to log in by a provider; the answer's cookie binds it to this browser."""
    body: StartBody = asked.body
    cookie = asked.http.cookies.get(asked.logins.cookie)
    started = await asked.logins.start(asked.session, asked.path("provider"), cookie, body.language)
    return Answer(StartedView(location=started.location), 200, asked.logins.set_cookie(started.cookie))


@routes.add(
    "POST",
    "/v1/oidc/{provider}/finish",
    scope=None,
    anyone=True,
    replays=False,
    body=FinishBody,
    answer=FinishedView,
    problems=("state-conflict",),
)
async def finish(asked: Asked) -> Answer:
    """Redeem the one-time code that the login's page got; only the session that began can."""
    body: FinishBody = asked.body
    done = await asked.logins.finish(asked.session, body.code)
    expected = done.identity.expected is not False
    return Answer(FinishedView(identity=IdentityView.of(done.identity), counts=done.counts, expected=expected))


class Callback:
    """GET /v1/oidc/{provider}/callback: a browser comes back, and is led to a page with what came of it.

    It goes to the page in the fragment, which no log and no `Referer` has, and so does its address leave the history.
    """

    def __init__(self, logins: Logins, patience: Patience, remote: Callable[[web.Request], str]) -> None:
        self._logins = logins
        self._patience = patience
        self._remote = remote

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/oidc/{provider}/callback", self.callback)]

    async def callback(self, request: web.Request) -> web.Response:
        """Never answers by anything but a page of ours. Raises Refused `too-many-requests`."""
        given = {name: request.query.getall(name, []) for name in PARAMETERS}
        fits = all(len(values) <= 1 and all(len(one) <= MAX_PARAMETER for one in values) for values in given.values())
        query = {name: values[0] for name, values in given.items() if values} if fits else {}
        provider = request.match_info["provider"]
        try:
            done = await self._logins.returned(provider, query, request.cookies.get(self._logins.cookie))
        except Refused:
            return _led("/login", {"error": "failed"})
        if done.error in ("expired", "browser"):
            self._patience.refused(self._remote(request))
        result = {"code": done.code} if done.code is not None else {"error": str(done.error)}
        page = f"/staff/{quote(done.tenant)}" if done.staff and done.tenant else "/login"
        return _led(page, {**result, "provider": provider, **({"tenant": done.tenant} if done.tenant else {})})


def _led(page: str, told: dict[str, str]) -> web.Response:
    return web.Response(status=303, headers={"Location": f"{page}#{urlencode(told)}"})
