"""Delivers events to webhooks: at least once each, in order per room, whatever receivers and this process do.

One loop does all writing: in a turn, what came of the tries that have ended and what has happened since are written in
one transaction, and only then the next tries begin. So a try that isn't written down is made again after a crash, and
nothing overtakes an event of its room that isn't known to be delivered. Without webhooks the loop sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Histogram

from ..keyring import Keyring, Unreadable
from ..secret import Clock, Ids, Random
from ..store import models
from ..store import webhooks as rows
from ..store.store import Busy, Db, Store
from ..visits import feed
from . import rules, signing
from .rules import Outcome, Reason, Receiver, State
from .sending import Sender

log = structlog.get_logger(__name__)

# Seconds between turns: bounds how often the one writer is asked for, and is what a room's next event waits at most.
TURN = 0.02
# Seconds until something that is due is looked for without being told.
LOOK = 1.0
# Seconds between looking at ages and cleaning up.
TIDY = 15.0
# What is under way gets so long when the server stops, in seconds: who is cut off is told again.
LAST_TRIES = 2.0
# How long the developer of a portal may look at what was done; a dead letter is found after a holiday.
KEEP_DELIVERED, KEEP_DEAD = timedelta(days=7), timedelta(days=30)
# Of an event until it is read, in seconds.
LAGS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0)

Render = Callable[[feed.Entry], bytes]


@dataclass(frozen=True)
class _Ended:
    delivery: models.Delivery
    outcome: Outcome
    at: datetime


class Deliverer:
    """`await start()`, then it runs until `await stop()`."""

    def __init__(
        self, store: Store, keyring: Keyring, sender: Sender, render: Render, *, clock: Clock, random: Random
    ) -> None:
        """`render` gives an event's body as UTF-8."""
        self._store = store
        self._keyring = keyring
        self._sender = sender
        self._render = render
        self._clock = clock
        self._random = random
        self._ids = Ids(random)
        self._hooks: dict[str, models.Webhook] = {}
        self._receivers: dict[str, Receiver] = {}
        # By webhook, the deliveries that are under way or not yet written down.
        self._busy: dict[str, dict[str, asyncio.Task[None] | None]] = {}
        self._ended: list[_Ended] = []
        self._wake = asyncio.Event()
        self._stopping = False
        # Webhooks for which something may have become due; now and then all are looked at.
        self._stirred: set[str] = set()
        self._looked: datetime | None = None
        self._tidied: datetime | None = None
        self._oldest: datetime | None = None
        self._pending = 0
        self._counts = dict.fromkeys(("delivered", "refused", "unreachable", "dead"), 0)
        self._lag = Histogram(
            "vardrum_webhooks_event_lag_seconds",
            "Time from an event until it was queued for webhooks",
            buckets=LAGS,
            registry=None,
        )
        # For `Metrics.add`.
        self.collectors = (self._lag,)
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes up what a former process has left."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Gives tries that are under way a moment, and writes down what came of them."""
        self._stopping = True
        self._wake.set()
        if self._loop is not None:
            # Not cancelled: a transaction may be under way.
            await self._loop
        tasks = [task for busy in self._busy.values() for task in busy.values() if task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LAST_TRIES)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._write(self._clock())
        except Busy:
            pass  # they are tried again
        except Exception:
            log.exception("writing down deliveries failed")

    async def happened(self, room: str) -> None:
        """Something was committed: a listener of `Visits`."""
        if self._hooks:
            self._wake.set()

    def changed(self) -> None:
        """Webhooks have come or gone."""
        self._tidied = None
        self._wake.set()

    def hurry(self, hook: str) -> None:
        """Somebody says that this receiver is there again."""
        if hook in self._receivers:
            self._receivers[hook].hurry()
        self._stirred.add(hook)
        self._wake.set()

    def metrics(self) -> dict[str, float]:
        """For `Metrics.add`: gauges are `hooks failing disabled pending oldest_seconds`, the rest counts tries."""
        age = 0.0 if self._oldest is None else max(0.0, (self._clock() - self._oldest).total_seconds())
        return {
            **self._counts,
            "hooks": len(self._hooks),
            "failing": sum(one.failing_since is not None for one in self._hooks.values()),
            "disabled": sum(one.disabled_at is not None for one in self._hooks.values()),
            "pending": self._pending,
            "oldest_seconds": age,
        }

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._turn()
                await asyncio.sleep(TURN)
            except Exception as error:
                if not isinstance(error, Busy):
                    log.exception("delivering to webhooks failed")
                await asyncio.sleep(LOOK)
                self._wake.set()
            with contextlib.suppress(TimeoutError):
                # Without webhooks nothing can be due; that there is one is told.
                async with asyncio.timeout(LOOK if self._hooks else None):
                    await self._wake.wait()

    async def _turn(self) -> None:
        self._wake.clear()
        now = self._clock()
        async with self._store.read() as db:
            self._hooks = {one.id: one for one in await rows.all_hooks(db)}
            behind = bool(self._hooks) and await rows.is_behind(db)
        tidy = self._tidied is None or now - self._tidied >= timedelta(seconds=TIDY)
        if behind or tidy or self._ended:
            await self._write(now, tidy=tidy)
        if tidy:
            async with self._store.read() as db:
                self._oldest, self._pending = await rows.waiting(db)
        for name in self._receivers.keys() - self._hooks.keys():
            del self._receivers[name]
        if self._looked is None or abs(now - self._looked) >= timedelta(seconds=LOOK):
            self._looked = now
            self._stirred.update(self._hooks)
        stirred, self._stirred = self._stirred & self._hooks.keys(), set()
        # Who has least under way comes first, should places be short.
        for name in sorted(stirred, key=lambda one: len(self._busy.get(one, ()))):
            if self._hooks[name].disabled_at is None and not self._stopping:
                await self._begin(self._hooks[name], now)

    # -- writing --

    async def _write(self, now: datetime, *, tidy: bool = False) -> None:
        ended = list(self._ended)
        async with self._store.write() as transaction:
            db = transaction.db
            tried = [self._tried(one) for one in ended]
            await rows.settle(db, tried, now)
            for hook in {one.hook for one in tried}:
                await self._mark(db, hook, [one for one in ended if one.delivery.hook == hook])
            queued = await rows.queue(db, lambda: self._ids.new("dlv"), now)
            dead = sum(one.state == State.DEAD for one in tried)
            left = False
            if tidy:
                dead += await self._give_up(db, now)
                left = await rows.forget(db, now - KEEP_DELIVERED, now - KEEP_DEAD)
        # Only now: what isn't on disk has not happened.
        del self._ended[: len(ended)]
        for one in ended:
            self._free(one.delivery)
        self._stirred |= queued.hooks | {one.hook for one in tried}
        for happened in queued.happened:
            self._lag.observe(max(0.0, (now - happened).total_seconds()))
        self._counts["dead"] += dead
        if tidy:
            self._tidied = None if left else now
        if queued.more or left:
            self._wake.set()

    def _tried(self, one: _Ended) -> rows.Tried:
        delivery, outcome = one.delivery, one.outcome
        attempts = delivery.attempts + 1
        known = self._hooks.get(delivery.hook)
        away_since = known.away_since if known is not None and outcome.reason in rules.AWAY else None
        state, due_at = State.PENDING, None
        if outcome.reason is Reason.DELIVERED:
            state = State.DELIVERED
        elif outcome.reason is Reason.GONE or rules.given_up(delivery.queued_at, attempts, away_since, one.at):
            state = State.DEAD
        else:
            due_at = one.at + rules.wait(attempts, outcome.reason, self._chance())
        return rows.Tried(
            delivery=delivery.id,
            hook=delivery.hook,
            room=delivery.room,
            state=state,
            due_at=due_at,
            tried_at=one.at,
            milliseconds=outcome.milliseconds,
            status=outcome.status,
            reason=outcome.reason,
        )

    async def _mark(self, db: Db, hook: str, ended: Sequence[_Ended]) -> None:
        """How the webhook itself is, for those who list it."""
        known = self._hooks.get(hook)
        if known is None:
            return
        reasons = {one.outcome.reason for one in ended}
        failing_since = None if Reason.DELIVERED in reasons else known.failing_since or ended[0].at
        away_since = None if reasons - rules.AWAY else known.away_since or ended[0].at
        if (failing_since, away_since) != (known.failing_since, known.away_since):
            await rows.mark(db, hook, failing_since=failing_since, away_since=away_since)
        if Reason.GONE in reasons:
            await rows.mark(db, hook, disabled_at=ended[-1].at)
            log.warning("a webhook's receiver says that it is gone; it is disabled", hook=hook)

    async def _give_up(self, db: Db, now: datetime) -> int:
        """Gives up what is too old where nothing gets through, and returns how much; lets on who waits for nobody."""
        dead = 0
        before = now - rules.GIVE_UP_AFTER
        for one in self._hooks.values():
            if rules.gone(one.disabled_at or one.away_since, now):
                dead += await rows.expire(db, one.id, before, list(self._busy.get(one.id, ())), Reason.EXPIRED)
            # Also those whose predecessors were erased with their events.
            await rows.next_in_line(db, one.id, now)
        return dead

    # -- sending --

    async def _begin(self, one: models.Webhook, now: datetime) -> None:
        receiver = self._receivers.setdefault(one.id, Receiver())
        busy = self._busy.get(one.id, {})
        places = receiver.places(len(busy), now)
        shared = rules.SHARED_PLACES - sum(max(0, len(others) - 1) for others in self._busy.values())
        # One place is its own, so that receivers that hang can't take all there are.
        limit = min(places, max(0, shared) + (not busy))
        if limit == 0:
            return
        async with self._store.read() as db:
            found = await rows.due(db, one.id, now, list(busy), limit)
        for due in found:
            task = asyncio.create_task(self._try(one, due))
            self._busy.setdefault(one.id, {})[due.delivery.id] = task

    async def _try(self, one: models.Webhook, due: rows.Due) -> None:
        delivery = due.delivery
        try:
            outcome = await self._send(one, due)
        except asyncio.CancelledError:
            self._free(delivery)
            raise
        except Exception:
            log.exception("a delivery failed by our own fault", hook=one.id, delivery=delivery.id)
            outcome = Outcome(Reason.NO_ANSWER, 0)
        self._count(one.id, outcome)
        self._ended.append(_Ended(delivery, outcome, self._clock()))
        self._busy[one.id][delivery.id] = None
        self._wake.set()

    async def _send(self, one: models.Webhook, due: rows.Due) -> Outcome:
        try:
            secrets = signing.unseal(one.secrets, self._keyring, one.id)
        except Unreadable:
            log.error("a webhook's secret can't be read: the keyring lacks its key; rotate the secret", hook=one.id)
            return Outcome(Reason.SECRET_UNREADABLE, 0)
        body = self._render(feed.entry(due.event, due.external_ref))
        return await self._sender.send(one.url, signing.headers(secrets, due.event.id, body, self._clock()), body)

    def _count(self, hook: str, outcome: Outcome) -> None:
        receiver = self._receivers.setdefault(hook, Receiver())
        if outcome.reason in rules.AWAY:
            self._counts["unreachable"] += 1
            receiver.away(self._clock(), self._chance(), outcome.retry_after)
        else:
            self._counts["delivered" if outcome.reason is Reason.DELIVERED else "refused"] += 1
            receiver.answered()

    def _free(self, delivery: models.Delivery) -> None:
        busy = self._busy.get(delivery.hook, {})
        busy.pop(delivery.id, None)
        if not busy:
            self._busy.pop(delivery.hook, None)

    def _chance(self) -> float:
        """Evenly between 0 and 1."""
        return int.from_bytes(self._random(4), "big") / 2**32
