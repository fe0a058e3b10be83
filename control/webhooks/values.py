"""What `Webhooks` takes and gives: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..store import models


@dataclass(frozen=True)
class Webhook:
    """Where a portal wants to be told.

    Attributes:
        events: the types it wants; empty for all.
        failing_since: of the first try that failed since one succeeded.
        disabled_at: when the receiver said that it is gone.
        secret: only where it was just made.
    """

    id: str
    url: str
    events: Sequence[str]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    secret: str | None = None


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one webhook.

    Attributes:
        state: `pending`, `held` (behind an earlier event of its room), `delivered` or `dead`.
        due_at: when it is tried next.
        status, reason, milliseconds: of the last try, at `tried_at`.
    """

    id: str
    event: str
    type: str
    room: str
    state: str
    attempts: int
    queued_at: datetime
    due_at: datetime | None
    tried_at: datetime | None
    milliseconds: int | None
    status: int | None
    reason: str | None


def webhook(row: models.Webhook, secret: str | None = None) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        events=tuple(row.events),
        created_at=row.created_at,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        secret=secret,
    )


def delivery(row: models.Delivery) -> Delivery:
    return Delivery(
        id=row.id,
        event=row.event,
        type=row.type,
        room=row.room,
        state="held" if row.state == "pending" and row.due_at is None else row.state,
        attempts=row.attempts,
        queued_at=row.queued_at,
        due_at=row.due_at,
        tried_at=row.tried_at,
        milliseconds=row.milliseconds,
        status=row.status,
        reason=row.reason,
    )
