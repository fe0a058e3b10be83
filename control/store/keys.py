"""Tenants and their API keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from ..secret import Ids, Random, digest, new_secret
from . import audit, queries
from .models import ApiKey, Tenant
from .store import Store


class Taken(Exception):
    """There is one by this name already."""


class Unknown(Exception):
    """There is none by this name."""


async def create_tenant(store: Store, tenant: str, name: str, now: datetime) -> None:
    """Raises Taken."""
    async with store.write() as transaction:
        if await transaction.db.get(Tenant, tenant) is not None:
            raise Taken(tenant)
        transaction.db.add(Tenant(id=tenant, name=name, created_at=now))
        audit.record(transaction, "tenant.created", tenant=tenant, at=now)


async def tenants(store: Store) -> Sequence[Tenant]:
    async with store.read() as db:
        return await queries.tenants(db)


async def create_key(
    store: Store, tenant: str, name: str, scopes: Sequence[str], now: datetime, random: Random
) -> tuple[str, str]:
    """The key's id and the key itself, which is told only here. Raises Unknown for the tenant."""
    secret = new_secret("vrk_", random, 32)
    async with store.write() as transaction:
        if await transaction.db.get(Tenant, tenant) is None:
            raise Unknown(tenant)
        key = ApiKey(
            id=Ids(random).new("key"),
            tenant=tenant,
            name=name,
            scopes=list(scopes),
            secret=digest(secret),
            created_at=now,
        )
        transaction.db.add(key)
        detail = {"key": key.id, "scopes": list(scopes)}
        audit.record(transaction, "key.created", tenant=tenant, at=now, detail=detail, random=random)
    return key.id, secret


async def keys(store: Store, tenant: str | None) -> Sequence[ApiKey]:
    async with store.read() as db:
        return await queries.api_keys(db, tenant)


async def rotate_keyring(store: Store, rotate: Callable[[], str], now: datetime) -> str:
    """Adds a key to the installation's keyring by `rotate`, which gives its name: in every tenant's trail."""
    async with store.write() as transaction:
        found = await queries.tenants(transaction.db)
        key = rotate()
        for tenant in found:
            audit.record(transaction, "keyring.rotated", tenant=tenant.id, at=now, detail={"key": key})
    return key


async def record_everywhere(store: Store, action: str, now: datetime, detail: Mapping[str, str] | None = None) -> None:
    """Writes what was done with the whole installation into every tenant's trail."""
    async with store.write() as transaction:
        for tenant in await queries.tenants(transaction.db):
            audit.record(transaction, action, tenant=tenant.id, at=now, detail=detail)


async def revoke_key(store: Store, key_id: str, now: datetime) -> None:
    """Revoking twice is fine. Raises Unknown."""
    async with store.write() as transaction:
        key = await transaction.db.get(ApiKey, key_id)
        if key is None:
            raise Unknown(key_id)
        if key.revoked_at is None:
            key.revoked_at = now
            audit.record(transaction, "key.revoked", tenant=key.tenant, at=now, detail={"key": key.id})
