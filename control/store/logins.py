"""Logins by OpenID Connect that have begun, by the hashes of their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select

from .models import Login
from .store import Db


async def begin(
    db: Db,
    *,
    state: bytes,
    browser: bytes,
    tenant: str,
    provider: str,
    session: str | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Remembers a login that begins, and forgets those whose time is over."""
    await db.execute(delete(Login).where(Login.expires_at <= now))
    login = Login(
        state=state, browser=browser, tenant=tenant, provider=provider, session=session, expires_at=expires_at
    )
    db.add(login)
    await db.flush()


async def begun(db: Db, tenant: str, session: str | None) -> int:
    """How many logins of a session, or (None) of a tenant's staff, are kept."""
    whose = Login.session.is_(None) if session is None else Login.session == session
    return await db.scalar(select(func.count()).select_from(Login).where(Login.tenant == tenant, whose)) or 0


async def by_state(db: Db, state: bytes) -> Login | None:
    return await db.get(Login, state)


async def by_code(db: Db, code: bytes) -> Login | None:
    return await db.scalar(select(Login).where(Login.code == code))


async def worth(db: Db, state: bytes, code: bytes, identity: dict[str, Any], expires_at: datetime) -> None:
    """The login has succeeded: `code` is worth `identity`, once."""
    login = await db.get(Login, state)
    if login is not None:
        login.code, login.identity, login.expires_at = code, identity, expires_at


async def forget(db: Db, login: Login) -> None:
    await db.delete(login)
