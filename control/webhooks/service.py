"""The webhooks of a tenant: made, listed, given new secrets, taken away; and what was sent, sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from ..keyring import Keyring, Unreadable
from ..secret import ID, Clock, Ids, Random
from ..store import audit, models
from ..store import webhooks as rows
from ..store.store import Busy, Db, Store
from ..visits.refused import FieldError, Refused
from . import signing, values
from .addresses import check_url
from .rules import State
from .values import Delivery, Webhook

# Each is a line of its own of everything that happens: a handful of systems is usual, more is a mistake.
MAX_WEBHOOKS = 16


class Delivering(Protocol):
    """What is asked of who delivers."""

    def changed(self) -> None:
        """Webhooks have come or gone."""

    def hurry(self, hook: str) -> None:
        """Somebody says that this receiver is there again."""


class Webhooks:
    """All methods take `tenant`: whatever belongs to another is refused as `not-found`. Everything raises `Refused`."""

    def __init__(
        self, store: Store, keyring: Keyring, delivering: Delivering, *, private: bool, clock: Clock, random: Random
    ) -> None:
        """`private` is the setting `webhooks.allow_private`."""
        self._store = store
        self._keyring = keyring
        self._delivering = delivering
        self._private = private
        self._clock = clock
        self._random = random
        self._ids = Ids(random)

    async def create(self, tenant: str, url: str, events: Sequence[str]) -> Webhook:
        """A webhook for what happens from now on, with its secret; `events` empty is all. Raises `state-conflict`."""
        try:
            check_url(url, private=self._private)
        except ValueError as error:
            raise Refused("invalid-body", "the URL doesn't fit", errors=[FieldError("#/url", str(error))]) from None
        hook_id = self._ids.new("hook")
        secrets = signing.first(self._random)
        async with self._write() as db:
            if await rows.count(db, tenant) >= MAX_WEBHOOKS:
                raise Refused("state-conflict", f"there are {MAX_WEBHOOKS} webhooks already: delete one first")
            row = models.Webhook(
                id=hook_id,
                tenant=tenant,
                url=url,
                events=list(dict.fromkeys(events)),
                secrets=signing.seal(secrets, self._keyring, hook_id),
                position=await rows.last_position(db, tenant),
                created_at=self._clock(),
            )
            db.add(row)
            await self._audit("webhook.created", tenant, hook_id)
        return values.webhook(row, secrets[0].shown)

    async def page(self, tenant: str, after: str | None, limit: int) -> tuple[list[Webhook], str | None]:
        """Up to `limit` in the order they were made, and the id after which to go on."""
        async with self._read() as db:
            found = await rows.hooks(db, tenant, after, limit + 1)
        shown = [values.webhook(one) for one in found[:limit]]
        return shown, shown[-1].id if len(found) > limit else None

    async def read(self, tenant: str, hook: str) -> Webhook:
        async with self._read() as db:
            return values.webhook(await self._hook(db, tenant, hook))

    async def rotate(self, tenant: str, hook: str) -> Webhook:
        """A new secret; for 24 hours what is sent is signed with the former one too."""
        async with self._write() as db:
            row = await self._hook(db, tenant, hook)
            try:
                former = signing.unseal(row.secrets, self._keyring, hook)
            except Unreadable:
                # Lost with a key of the keyring: a new secret is the way out.
                former = []
            secrets = signing.rotated(former, self._clock(), self._random)
            row.secrets = signing.seal(secrets, self._keyring, hook)
            await self._audit("webhook.rotated", tenant, hook)
        return values.webhook(row, secrets[0].shown)

    async def delete(self, tenant: str, hook: str) -> None:
        """Nothing begins to be sent any more; what is under way ends."""
        async with self._write() as db:
            row = await self._hook(db, tenant, hook)
            row.deleted_at = self._clock()
            await self._audit("webhook.deleted", tenant, hook)

    async def deliveries(
        self, tenant: str, hook: str, state: str | None, before: str | None, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """Up to `limit`, the newest first, and the id before which to go on."""
        async with self._read() as db:
            await self._hook(db, tenant, hook)
            found = await rows.deliveries(db, hook, state, before, limit + 1)
        shown = [values.delivery(one) for one in found[:limit]]
        return shown, shown[-1].id if len(found) > limit else None

    async def redeliver(self, tenant: str, hook: str, delivery: str) -> Delivery:
        """Sends it at once: what waits for its next try, or once more what was delivered or given up.

        The latter is outside the order of its room, so that nothing waits for it. A webhook that was disabled is not
        any more. Raises `state-conflict` for what waits for an earlier event of its room.
        """
        async with self._write(lambda: self._delivering.hurry(hook)) as db:
            owner = await self._hook(db, tenant, hook)
            row = await rows.delivery(db, hook, delivery) if ID.fullmatch(delivery) else None
            if row is None:
                raise Refused("not-found", "there is no such delivery of this webhook")
            if row.state != State.PENDING:
                row.state = State.PENDING
                row.in_order = False
                row.attempts = 0
                row.queued_at = self._clock()
            elif row.due_at is None:
                raise Refused("state-conflict", "an earlier event of its room comes first: redeliver that one")
            row.due_at = self._clock()
            owner.disabled_at = None
            await self._audit("webhook.redelivered", tenant, hook, delivery=delivery)
        return values.delivery(row)

    async def _audit(self, action: str, tenant: str, hook: str, **detail: str) -> None:
        async with self._store.write() as transaction:  # the one that is open
            audit.record(transaction, action, tenant=tenant, at=self._clock(), detail={"hook": hook, **detail})

    @asynccontextmanager
    async def _write(self, then: Callable[[], None] | None = None) -> AsyncIterator[Db]:
        """`then` is called once it is on disk; who delivers is told that webhooks have changed where it is None."""

        async def tell() -> None:
            (then or self._delivering.changed)()

        try:
            async with self._store.write() as transaction:
                yield transaction.db
                transaction.after_commit.append(tell)
        except Busy:
            raise Refused("unavailable", "the database can't keep up", retry_after=1) from None

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[Db]:
        try:
            async with self._store.read() as db:
                yield db
        except Busy:
            raise Refused("unavailable", "the database can't keep up", retry_after=1) from None

    @staticmethod
    async def _hook(db: Db, tenant: str, hook: str) -> models.Webhook:
        row = await rows.hook(db, tenant, hook) if ID.fullmatch(hook) else None
        if row is None:
            raise Refused("not-found", "there is no such webhook")
        return row
