"""Kept answers of requests with an Idempotency-Key; the store sees only what is encrypted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete

from .models import Answer
from .store import Db


async def find(db: Db, key: bytes, now: datetime) -> Answer | None:
    """The answer kept under this name, while it is kept."""
    found = await db.get(Answer, key)
    return found if found is not None and found.expires_at > now else None


async def keep(
    db: Db, key: bytes, request: bytes, nonce: bytes, sealed: bytes, now: datetime, expires_at: datetime
) -> None:
    """Keeps an answer, and forgets those whose time is over."""
    await db.execute(delete(Answer).where(Answer.expires_at <= now))
    db.add(Answer(key=key, request=request, nonce=nonce, sealed=sealed, expires_at=expires_at))
