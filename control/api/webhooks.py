"""/v1/webhooks"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..webhooks.addresses import MAX_URL
from ..webhooks.values import Delivery, Webhook
from .caller import Scope
from .fields import MISSING, Body, Shown, View
from .rooms import after_cursor, cursor_of
from .routing import Answer, Asked, Routes

routes = Routes()

# CONTRACT, "Events".
EventType = Literal[
    "room.created",
    "room.updated",
    "room.opened",
    "room.started",
    "room.ended",
    "room.reopened",
    "room.cancelled",
    "participant.invited",
    "participant.waiting",
    "participant.identifying",
    "participant.identified",
    "participant.admitted",
    "participant.held",
    "participant.denied",
    "participant.connected",
    "participant.lost",
    "participant.left",
    "participant.removed",
    "media.degraded",
    "media.restored",
    "fallback.needed",
    "fallback.used",
    "feedback.given",
]
_HOOK = "/v1/webhooks/{hook}"


class WebhookBody(Body):
    """Where to tell, and of which types of events; all where they are missing, also those that are new later."""

    url: Annotated[str, Field(max_length=MAX_URL)]
    events: Annotated[list[EventType] | None, Field(min_length=1, max_length=50)] = None


class WebhookView(View):
    """`secret` only where it was just made. `failing`: tries have failed since one succeeded; `disabled`: by 410."""

    id: str
    url: str
    events: list[str] | None = MISSING
    state: Literal["active", "failing", "disabled"]
    created_at: Shown
    failing_since: Shown | None = MISSING
    disabled_at: Shown | None = MISSING
    secret: str | None = MISSING

    @classmethod
    def of(cls, one: Webhook) -> WebhookView:
        return cls(
            id=one.id,
            url=one.url,
            events=list(one.events) or None,
            state="disabled" if one.disabled_at else "failing" if one.failing_since else "active",
            created_at=one.created_at,
            failing_since=one.failing_since,
            disabled_at=one.disabled_at,
            secret=one.secret,
        )


class WebhookList(View):
    items: list[WebhookView]
    next: str | None


class TryView(View):
    """What came of the last try; `reason` is one word, `status` the receiver's where one came."""

    at: Shown
    milliseconds: int
    status: int | None = MISSING
    reason: str


class DeliveryView(View):
    """An event on its way. `held`: an earlier event of its room comes first; `dead`: given up, may be redelivered."""

    id: str
    event: str
    type: str
    room: str
    state: Literal["pending", "held", "delivered", "dead"]
    attempts: int
    queued_at: Shown
    next_attempt_at: Shown | None = MISSING
    last_attempt: TryView | None = None

    @classmethod
    def of(cls, one: Delivery) -> DeliveryView:
        last = None
        if one.tried_at is not None:
            reason = one.reason or ""
            last = TryView(at=one.tried_at, milliseconds=one.milliseconds or 0, status=one.status, reason=reason)
        return cls(
            **{name: getattr(one, name) for name in ("id", "event", "type", "room", "state", "attempts", "queued_at")},
            next_attempt_at=one.due_at,
            last_attempt=last,
        )


class DeliveryList(View):
    items: list[DeliveryView]
    next: str | None


class PageQuery(Body):
    cursor: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DeliveryQuery(PageQuery):
    state: Literal["pending", "delivered", "dead"] | None = None


@routes.add(
    "POST",
    "/v1/webhooks",
    scope=Scope.ADMIN,
    body=WebhookBody,
    answer=WebhookView,
    status=201,
    problems=("state-conflict",),
)
async def create(asked: Asked) -> Answer:
    """Be told of what happens from now on; the secret is shown this once."""
    body: WebhookBody = asked.body
    made = await asked.webhooks.create(asked.tenant, body.url, body.events or ())
    return Answer(WebhookView.of(made), 201, {"Location": f"/v1/webhooks/{made.id}"})


@routes.add("GET", "/v1/webhooks", scope=Scope.ADMIN, query=PageQuery, answer=WebhookList)
async def listed(asked: Asked) -> Answer:
    """List webhooks in the order they were made."""
    query: PageQuery = asked.query
    found, last = await asked.webhooks.page(asked.tenant, after_cursor(query.cursor), query.limit)
    return Answer(WebhookList(items=[WebhookView.of(one) for one in found], next=cursor_of(last)))


@routes.add("GET", _HOOK, scope=Scope.ADMIN, answer=WebhookView)
async def read(asked: Asked) -> Answer:
    """Read a webhook."""
    return Answer(WebhookView.of(await asked.webhooks.read(asked.tenant, asked.path("hook"))))


@routes.add("DELETE", _HOOK, scope=Scope.ADMIN, status=204)
async def delete(asked: Asked) -> Answer:
    """Be told of nothing more there."""
    await asked.webhooks.delete(asked.tenant, asked.path("hook"))
    return Answer(status=204)


@routes.add("POST", f"{_HOOK}/rotate", scope=Scope.ADMIN, answer=WebhookView)
async def rotate(asked: Asked) -> Answer:
    """Make a new secret; for 24 hours everything is signed with the former one too."""
    return Answer(WebhookView.of(await asked.webhooks.rotate(asked.tenant, asked.path("hook"))))


@routes.add("GET", f"{_HOOK}/deliveries", scope=Scope.ADMIN, query=DeliveryQuery, answer=DeliveryList)
async def deliveries(asked: Asked) -> Answer:
    """List what was and will be sent there, the newest first."""
    query: DeliveryQuery = asked.query
    before = after_cursor(query.cursor)
    found, last = await asked.webhooks.deliveries(asked.tenant, asked.path("hook"), query.state, before, query.limit)
    return Answer(DeliveryList(items=[DeliveryView.of(one) for one in found], next=cursor_of(last)))


@routes.add(
    "POST",
    f"{_HOOK}/deliveries/{{delivery}}/redeliver",
    scope=Scope.ADMIN,
    answer=DeliveryView,
    status=202,
    problems=("state-conflict",),
)
async def redeliver(asked: Asked) -> Answer:
    """Send it now, also when it was delivered or given up; a disabled webhook works again from here on."""
    again = await asked.webhooks.redeliver(asked.tenant, asked.path("hook"), asked.path("delivery"))
    return Answer(DeliveryView.of(again), 202)
