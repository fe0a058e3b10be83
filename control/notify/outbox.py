"""Sends what is due: one task for each way of sending, so that a slow mail server keeps no SMS waiting.

A row is written down as `sending` before it goes and as `sent` after. A server that is killed between the two sends it
again when it is back, with the same id: an invitation that comes twice is a smaller harm than one that never does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ..keyring import Unreadable
from ..store import messages as store
from ..store import models
from ..store.store import Busy, Db
from ..visits.invitations import link_of
from ..visits.messages import Channel, last_moment, unwanted
from ..visits.service import Visits
from ..visits.unit_words import UnitWords, unit_words
from . import compose, words
from .sending import Outgoing, Sender, Undeliverable, Unsent

log = structlog.get_logger(__name__)

# How often is looked for reminders and for what is tried again; acts wake the task by themselves.
LOOK = 2.0
# So many are on their way at once; a mail server that takes 200 ms for one then takes 40 a second.
BATCH = 8
FIRST_RETRY, LAST_RETRY = timedelta(seconds=30), timedelta(minutes=30)
# What is on its way when the server stops gets so long, in seconds.
FINISH = 5.0


@dataclass(frozen=True)
class _Taken:
    outgoing: Outgoing
    kind: str
    tries: int
    until: datetime


class Outbox:
    """All ways of sending that are set up."""

    def __init__(self, visits: Visits, senders: Mapping[Channel, Sender]) -> None:
        self._ways = [_Way(visits, channel, sender) for channel, sender in senders.items()]
        if self._ways:
            visits.subscribe(self._changed)

    async def start(self) -> None:
        """Begins to send, first what nobody knows to have gone."""
        for way in self._ways:
            await way.start()

    async def stop(self) -> None:
        """Lets what is on its way arrive, for some seconds."""
        await asyncio.gather(*(way.stop() for way in self._ways))

    def metrics(self) -> dict[str, int]:
        """By channel: sent, tried in vain, given up, not needed any more; and how many should have gone by now."""
        found: dict[str, int] = {}
        for way in self._ways:
            for name in ("sent", "failed", "dead", "skipped"):
                found[f"{way.channel}_{name}"] = way.counts[name]
            found[f"{way.channel}_overdue"] = way.overdue
        return found

    @property
    def gauges(self) -> list[str]:
        """Which of the metrics aren't counters."""
        return [f"{way.channel}_overdue" for way in self._ways]

    async def _changed(self, _: str) -> None:
        for way in self._ways:
            way.wake()


class _Way:
    def __init__(self, visits: Visits, channel: Channel, sender: Sender) -> None:
        self.channel = channel
        self.counts: Counter[str] = Counter()
        self.overdue = 0
        self._visits = visits
        self._sender = sender
        self._wanted = asyncio.Event()
        self._stopping = False
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._sender.start()
        async with self._visits.store.write() as transaction:
            again = await store.unknown_again(transaction.db, self.channel)
        if again:
            log.info("messages are sent again that may have gone before", channel=str(self.channel), messages=again)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stopping = True
        self.wake()
        if self._task is not None:
            _, unfinished = await asyncio.wait([self._task], timeout=FINISH)
            for task in unfinished:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._sender.stop()

    def wake(self) -> None:
        self._wanted.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._wanted.clear()
            try:
                while not self._stopping and await self._send_some():
                    pass
            except Busy:
                pass  # the disk can't keep up; nothing is lost by waiting
            except Exception as error:
                # Only its kind: an exception's text may have an address in it.
                log.error("sending messages failed", channel=str(self.channel), error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wanted.wait()

    async def _send_some(self) -> bool:
        """Sends up to `BATCH`; whether there may be more."""
        async with self._visits.store.read() as db:
            self.overdue = await store.overdue(db, self.channel, self._visits.clock())
        if not self.overdue:
            return False
        taken, more = await self._take()
        await asyncio.gather(*(self._send(one) for one in taken))
        return more

    async def _take(self) -> tuple[list[_Taken], bool]:
        taken = []
        async with self._visits.store.write() as transaction:
            now = self._visits.clock()
            due = await store.due(transaction.db, self.channel, now, BATCH)
            for row, participant, room in due:
                unit = await unit_words(transaction.db, room, self._visits.policy)
                reason = unwanted(row, room, participant, unit, now)
                try:
                    outgoing = None if reason else self._compose(row, participant, room, unit, now)
                except Exception as error:
                    # Such as a time zone that the system has no more: the others mustn't wait for this one.
                    await self._close(transaction.db, row, "dead", type(error).__name__, now)
                    self._given_up(row.id, row.kind, type(error).__name__, row.tries)
                    continue
                if outgoing is None:
                    await self._close(transaction.db, row, "skipped", reason or "no address", now)
                else:
                    row.state, row.tries = "sending", row.tries + 1
                    taken.append(_Taken(outgoing, row.kind, row.tries, last_moment(row, room)))
        return taken, len(due) == BATCH

    def _compose(
        self, row: models.Message, participant: models.Participant, room: models.Room, unit: UnitWords, now: datetime
    ) -> Outgoing | None:
        contacts, mail = self._visits.contacts, self.channel is Channel.EMAIL
        try:
            if mail:
                to = contacts.open(participant.id, "email", participant.email_sealed)
            else:
                to = contacts.open(participant.id, "phone", participant.phone_sealed)
            secret = contacts.open(participant.id, "link", participant.link_sealed)
        except Unreadable:
            return None
        if to is None:
            return None
        language = words.language(participant.language, room.language)
        about = compose.About(
            kind=row.kind,
            form=room.form,
            starts_at=room.starts_at,
            opens_at=room.opens_at,
            time_zone=room.time_zone,
            language=language,
            link=None if secret is None else link_of(self._visits.policy, room.tenant, secret),
            unit=unit.neutral_name,
            texts=unit.texts,
        )
        if mail:
            letter = compose.letter(about)
            return Outgoing(row.id, to, letter.subject, letter.text, language, now)
        return Outgoing(row.id, to, "", compose.short(about), language, now)

    async def _send(self, one: _Taken) -> None:
        failure: Unsent | Undeliverable | None = None
        try:
            await self._sender.send(one.outgoing)
        except (Unsent, Undeliverable) as error:
            failure = error
        except Exception as error:
            failure = Unsent(type(error).__name__)
        self._tell(failure)
        while True:
            try:
                return await self._record(one, failure)
            except Busy:
                await asyncio.sleep(1)

    async def _record(self, one: _Taken, failure: Unsent | Undeliverable | None) -> None:
        now = self._visits.clock()
        async with self._visits.store.write() as transaction:
            row = await store.message(transaction.db, one.outgoing.id)
            if row is None:
                return  # erased meanwhile
            if failure is None:
                await self._close(transaction.db, row, "sent", None, now)
                return
            again = now + self._backoff(one.tries)
            if isinstance(failure, Unsent) and again <= one.until:
                self.counts["failed"] += 1
                row.state, row.due_at, row.reason = "waiting", again, str(failure)[:64]
                return
            await self._close(transaction.db, row, "dead", str(failure)[:64], now)
        self._given_up(one.outgoing.id, one.kind, str(failure), one.tries)

    def _given_up(self, message: str, kind: str, reason: str, tries: int) -> None:
        log.warning(
            "a message was given up",
            message=message,
            kind=kind,
            channel=str(self.channel),
            reason=reason,
            tries=tries,
        )

    async def _close(self, db: Db, row: models.Message, state: str, reason: str | None, now: datetime) -> None:
        row.state, row.reason, row.done_at = state, reason, now
        self.counts[state] += 1
        await store.forget_link(db, row.participant)

    def _backoff(self, tries: int) -> timedelta:
        """Doubled each time, and a quarter more or less, so that not all come back at once."""
        wait: timedelta = min(FIRST_RETRY * 2 ** min(tries - 1, 10), LAST_RETRY)
        return wait * (0.75 + self._visits.random(1)[0] / 510)

    def _tell(self, failure: Unsent | Undeliverable | None) -> None:
        """One line when a way begins to fail, and one when it is well again: an operator needs no more."""
        failing = isinstance(failure, Unsent)
        if failing and not self._failing:
            log.warning("messages can't be sent", channel=str(self.channel), reason=str(failure))
        elif self._failing and not failing:
            log.info("messages are sent again", channel=str(self.channel))
        self._failing = failing
