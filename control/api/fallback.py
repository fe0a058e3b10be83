"""…/phone and …/fallback: the way out when video fails."""

from __future__ import annotations

from .bodies import FallbackBody, ParticipantView, PhoneView
from .caller import Scope
from .participants import ONE
from .routing import Answer, Asked, Routes, etag

routes = Routes()


@routes.add(
    "GET", f"{ONE}/phone", scope=Scope.ADMISSION, hosts=True, answer=PhoneView, problems=("no-phone", "invalid-header")
)
async def phone(asked: Asked) -> Answer:
    """Reveal somebody's phone number; who asked is written down."""
    number = await asked.visits.reveal_phone(asked.room, asked.participant, asked.acting, tenant=asked.tenant)
    return Answer(PhoneView(phone=number))


@routes.add(
    "POST",
    f"{ONE}/fallback",
    scope=Scope.ADMISSION,
    hosts=True,
    body=FallbackBody,
    answer=ParticipantView,
    problems=("state-conflict",),
)
async def used(asked: Asked) -> Answer:
    """Write down that the visit went on by phone or chat, and how."""
    body: FallbackBody = asked.body
    one = await asked.visits.use_fallback(
        asked.room, asked.participant, body.mode, body.outcome, asked.acting, tenant=asked.tenant
    )
    return Answer(ParticipantView.of(one, contact=asked.contact), 200, etag(one.version))
