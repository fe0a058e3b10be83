"""/v1/sessions: a secret for a session."""

from __future__ import annotations

from ..visits.values import Function, OpenedSession
from .bodies import AboutView, CareUnitView, LoginView, SessionBody, SessionView
from .routing import Answer, Asked, Routes

routes = Routes()


@routes.add(
    "POST",
    "/v1/sessions",
    scope=None,
    body=SessionBody,
    answer=SessionView,
    status=201,
    problems=("token-not-accepted", "not-open-yet", "room-locked", "function-off", "gone", "session-replaced"),
)
async def open_session(asked: Asked) -> Answer:
    """Exchange a link's secret, an embed_token or a resume secret for a session."""
    body: SessionBody = asked.body
    opened = await asked.visits.open_session(invite=body.invite, embed_token=body.embed_token, resume=body.resume)
    # https becomes wss: the websocket is at the same host as the page.
    url = "ws" + asked.public_url.removeprefix("http") + "/v1/ws"
    view = SessionView(
        id=opened.id,
        token=opened.token,
        resume=opened.resume,
        websocket_url=url,
        room=opened.room,
        participant=opened.participant,
        expires_at=opened.expires_at,
        about=AboutView(
            care_unit=CareUnitView(name=opened.care_unit.name, phone=opened.care_unit.phone),
            title=opened.title,
            language=opened.language,
            display_name=opened.display_name,
            form=opened.form,
        ),
        logins=await _logins(asked, opened),
    )
    return Answer(view, 201)


async def _logins(asked: Asked, opened: OpenedSession) -> list[LoginView]:
    """What somebody can log in by whose identity is still wanted, where the care unit has that on."""
    found = asked.logins.providers(opened.tenant) if opened.needs_eid else []
    if not found or Function.EID not in (await asked.visits.snapshot(opened.room)).functions:
        return []
    return [LoginView(provider=name, label=label) for name, label in found]
