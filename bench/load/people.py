"""People in three-party visits on one server, as long as something is done to it, and what they noticed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from ..bots import Crowd
from ..portal import Portal, Refused, invitation
from ..serving import Serving
from ..waiting import wait_until
from .person import Figure, Person, in_words

PEOPLE = 3
# How many visits come in at a time: whoever measures faults doesn't measure the rush.
ARRIVING = 4
# Seconds: until everybody sees, and until a newcomer has given up.
SEEN, NEWCOMER = 60.0, 25.0
# Nobody ends a visit as long as we look.
FOREVER = 24 * 3600.0


@dataclass(frozen=True)
class Noticed:
    """Something that somebody noticed, and when (`time.monotonic`)."""

    at: float
    who: int
    figure: Figure


@dataclass(frozen=True)
class Sound:
    """Packets of sound that all bots have received, and those that were sent to them and never came."""

    received: int
    missing: int


class People:
    """Whoever is in a visit on `serving`.

    Attributes:
        noticed: by everybody, in order.
    """

    def __init__(self, serving: Serving, crowd: Crowd, portal: Portal) -> None:
        self.serving = serving
        self.crowd = crowd
        self.portal = portal
        self.noticed: list[Noticed] = []
        self._tasks: list[asyncio.Task[str]] = []
        self._numbers = itertools.count(step=PEOPLE)

    @property
    def count(self) -> int:
        return len(self._tasks)

    @property
    def there(self) -> int:
        """How many have not gone out, for whatever reason."""
        return sum(not task.done() for task in self._tasks)

    async def come(self, visits: int) -> None:
        """Lets so many visits begin, until everybody has seen somebody.

        Raises:
            RuntimeError: somebody couldn't, with why.
        """
        arriving = asyncio.Semaphore(ARRIVING)

        async def begin() -> None:
            async with arriving:
                first = next(self._numbers)
                self._tasks += await self._visit(first, self._notice)
                await self._seen(range(first, first + PEOPLE))

        await asyncio.gather(*(begin() for _ in range(visits)))

    async def newcomers(self) -> str:
        """One more visit, as long as it takes to begin: "" when that went well, else what its people were told."""
        noticed: list[Noticed] = []

        def notice(who: int, figure: Figure) -> None:
            noticed.append(Noticed(time.monotonic(), who, figure))

        try:
            tasks = await asyncio.wait_for(self._visit(0, notice), NEWCOMER)
        except (Refused, aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"booking: {in_words(error)}"
        try:
            await wait_until(
                lambda: len(_names(noticed, "first picture")) == PEOPLE or any(task.done() for task in tasks),
                deadline=NEWCOMER,
                what="a newcomer's picture",
            )
        except TimeoutError:
            return "no picture"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        wrong = [f"{one.figure.name}: {one.figure.problem}" for one in noticed if one.figure.problem]
        return wrong[0] if wrong else ""

    async def sound(self) -> Sound:
        """Of all who are there."""
        said = [bot for native in self.crowd.natives for bot in (await native.ask()).values()]
        ears = [ear for bot in said for ear in bot["ears"] if ear["sound"] and ear["received"]]
        return Sound(sum(ear["received"] for ear in ears), sum(ear["skipped"] + ear["lost"] for ear in ears))

    def since(self, at: float, *names: str) -> list[Noticed]:
        """What was noticed since then under these names; without any, all."""
        return [one for one in self.noticed if one.at >= at and (not names or one.figure.name in names)]

    async def go(self) -> None:
        """Everybody leaves."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _visit(self, first: int, notice: Callable[[int, Figure], None]) -> list[asyncio.Task[str]]:
        _, invited = await self.portal.book(PEOPLE)
        secrets = [await self.portal.vouch(invited[0]), *(invitation(one) for one in invited[1:])]
        tasks = []
        for place, secret in enumerate(secrets):
            person = Person(
                self.crowd,
                self.portal.base,
                secret,
                lambda figure, who=first + place: notice(who, figure),  # type: ignore[misc]
                host=place == 0,
            )
            tasks.append(asyncio.create_task(self._stay(person)))
        return tasks

    @staticmethod
    async def _stay(person: Person) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            return await person.take_part(talk=FOREVER, patience=SEEN)
        return "left"

    def _notice(self, who: int, figure: Figure) -> None:
        self.noticed.append(Noticed(time.monotonic(), who, figure))

    async def _seen(self, whom: range) -> None:
        def all_see() -> bool:
            mine = [one for one in self.noticed if one.who in whom]
            wrong = [one.figure for one in mine if one.figure.problem]
            if wrong:
                raise RuntimeError(f"{wrong[0].name}: {wrong[0].problem}")
            return len(_names(mine, "first picture")) == len(whom)

        await wait_until(all_see, deadline=SEEN, what="pictures of everyone", every=0.1)


def _names(noticed: list[Noticed], name: str) -> set[int]:
    return {one.who for one in noticed if one.figure.name == name}
