"""One person of a load test in one visit: comes, waits, is let in or lets in, sees and hears, comes back, leaves.

What a person notices is told as figures (`Figure`), times in milliseconds, and what goes wrong as a figure with a
`problem` in words. Everything real is done by a `Bot`; this is what somebody does with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from ..bots import Bot, Closed, Crowd, Overloaded
from ..portal import Refused

# Seconds after which somebody takes it that there will be no sound or picture any more.
SOON = 20.0
# Between two tries to come back, and how long one goes on trying (CONTRACT, "A lost network").
AGAIN, GIVE_UP = 2.0, 60.0
# Share of the sound that may be missing before it is a failure.
MISSING = 0.005
PACKET_MS = 20.0
# A picture that stands still for so long is frozen; where a visit has just ended, so long.
STILL_MS, STILL_AT_END_MS = 500.0, 2000.0
OVER = ("denied", "removed", "ended")
# Session replaced; replaced, removed or ended; hostile: nobody comes back after those (CONTRACT, "Close codes").
FOR_GOOD = (4001, 4002, 4004)
OVER_CODE, RENEW = 4002, 4003
HEIGHT = 360

Outcome = Literal["ended", "left", "too late", "nobody came", "failed"]


@dataclass(frozen=True)
class Figure:
    """Something that a person noticed: it took `ms`, or failed because of `problem`."""

    kind: str
    name: str
    ms: float
    problem: str = ""


class TooLate(Exception):
    """The visit was over before one came in, as happens where people end visits."""


class Failed(Exception):
    """The visit can't go on for this person: `figure` says why."""

    def __init__(self, figure: Figure) -> None:
        super().__init__(figure.problem)
        self.figure = figure


def in_words(error: BaseException) -> str:
    """Why, without anything that is different each time: failures of one kind are counted together."""
    match error:
        case Refused():
            return f"{error.status} {error.problem}".strip()
        case Closed():
            return f"the websocket was closed with {error.code}"
        case Overloaded():
            return "the server has no room for another offer"
        case ConnectionError() if type(error) is ConnectionError:
            return str(error)[:200]
        case aiohttp.WSServerHandshakeError():
            return f"the websocket was refused with {error.status}"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectionError() | OSError():
            return f"no connection to the server: {type(error).__name__}"
    return f"{type(error).__name__}: {error}"[:200]


class Person:
    """Somebody in a visit.

    Attributes:
        inside: let in, and with media.
    """

    def __init__(
        self,
        crowd: Crowd,
        base: str,
        secret: Mapping[str, str],
        tell: Callable[[Figure], None],
        *,
        host: bool = False,
        layers: int = 1,
    ) -> None:
        """
        Args:
            secret: the body of `POST /v1/sessions`.
            tell: gets every figure.
            host: lets everybody in, and ends the visit.
        """
        self.inside = False
        self._bot = Bot(crowd, base, secret, layers=layers, obeys=True)
        self._tell = tell
        self._host = host
        self._weather: tuple[str, float] | None = None
        # Somebody's network was away: what one saw stand still then was not the server's doing.
        self._away = False
        self._let_in: set[str] = set()
        self._shown: set[str] = set()

    async def take_part(self, *, talk: float, patience: float) -> Outcome:
        """The whole visit; cancelled, this person leaves.

        Args:
            talk: seconds after which a host ends it, from when somebody else is there.
            patience: seconds that one waits to be let in, or for somebody to come.
        """
        watching: asyncio.Task[None] | None = None
        try:
            try:
                await self._arrive()
                await self._wait(patience)
                await self._join()
                watching = asyncio.create_task(self._notice())
                return await self._stay(talk, patience)
            except TooLate:
                return "too late"
            except Failed as failed:
                self._tell(failed.figure)
                return "failed"
        finally:
            if watching is not None:
                watching.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._leave(), 5)
            with contextlib.suppress(Exception):
                await self._bot.close()

    def weather(self, kind: Literal["dead zone", "reconnect"], seconds: float = 0.0) -> None:
        """This person's network is away for `seconds` (`dead zone`), or the page is loaded anew (`reconnect`)."""
        self._weather = (kind, seconds)
        self._bot.nudge()

    async def _arrive(self) -> None:
        await self._timed("POST", "/v1/sessions", self._bot.open)
        await self._timed("websocket", "welcome", self._bot.hello)

    async def _timed(self, kind: str, name: str, act: Callable[[], Awaitable[object]]) -> None:
        begun = time.perf_counter()
        try:
            await act()
        except Refused as refused:
            if refused.problem == "gone":
                raise TooLate from None
            raise Failed(Figure(kind, name, _since(begun), in_words(refused))) from None
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            unless_over(error)
            raise Failed(Figure(kind, name, _since(begun), in_words(error))) from None
        self._tell(Figure(kind, name, _since(begun)))

    async def _wait(self, patience: float) -> None:
        """Until one is let in."""
        begun = time.perf_counter()
        end = begun + patience
        while self._bot.state != "admitted":
            if self._bot.state == "ended":
                raise TooLate
            if self._bot.state in OVER:
                raise Failed(Figure("visit", "admission", _since(begun), f"one was {self._bot.state}"))
            try:
                within = max(0.1, end - time.perf_counter())
                await self._bot.until(lambda: self._bot.state in ("admitted", *OVER), "admission", within)
            except TimeoutError:
                problem = f"nobody let one in within {patience:g} s"
                raise Failed(Figure("visit", "admission", _since(begun), problem)) from None
            except Closed as closed:
                if closed.code in FOR_GOOD:
                    raise TooLate from None
                await self._timed("websocket", "welcome again", self._say_hello_again)

    async def _join(self) -> None:
        """The offer, and until there is a connection."""
        begun = time.perf_counter()
        try:
            await self._bot.join()
            await self._connected()
        except (OSError, TimeoutError, ValueError) as error:
            unless_over(error)
            problem = f"no connection in {SOON:g} s" if isinstance(error, TimeoutError) else in_words(error)
            raise Failed(Figure("media", "join", _since(begun), problem)) from None
        self._tell(Figure("media", "join", (self._bot.times["connected"] - self._bot.times["offer"]) * 1000))
        self.inside = True

    async def _connected(self) -> None:
        await self._bot.until(lambda: {"connected", "failed"} & self._bot.times.keys(), "connection", SOON)
        if "connected" not in self._bot.times:
            raise ConnectionError("the handshake failed")

    async def _notice(self) -> None:
        """The first picture and the first sound, each told once."""
        with contextlib.suppress(Closed):
            await asyncio.gather(self._first_picture(), self._first_sound())

    async def _first_picture(self) -> None:
        bot = self._bot
        try:
            # A host may be the first.
            await bot.until(lambda: bot.slots, "slot", 24 * 3600.0 if self._host else SOON)
            await bot.until(lambda: bot.pictures, "picture", SOON)
        except TimeoutError:
            self._miss("first picture", f"no picture in {SOON:g} s")
            return
        # From the offer, or from when there was somebody to be seen.
        since = max(bot.times["offer"], bot.times["slots"])
        self._tell(Figure("media", "first picture", max(0.0, min(bot.pictures.values()) - since) * 1000))

    async def _first_sound(self) -> None:
        bot = self._bot
        if self._host:
            return
        try:
            await bot.until(lambda: bot.sounds, "sound", SOON)
        except TimeoutError:
            self._miss("admission to sound", f"no sound in {SOON:g} s")
            return
        waited = min(bot.sounds.values()) - bot.times["admitted"]
        self._tell(Figure("media", "admission to sound", max(0.0, waited) * 1000))

    def _miss(self, name: str, problem: str) -> None:
        # Nobody wonders in a dead zone.
        if not self._away:
            self._tell(Figure("media", name, SOON * 1000, problem))

    async def _stay(self, talk: float, patience: float) -> Outcome:
        """Until it is over: who is host lets in and ends, everybody comes back when the network was away."""
        bot, clock = self._bot, time.perf_counter
        until = clock() + (patience if self._host else 24 * 3600.0)
        met = False
        while True:
            await self._look_around()
            if bot.state in OVER:
                await self._sum_up(STILL_AT_END_MS)
                return "ended" if bot.state == "ended" else "left"
            if self._weather is not None:
                kind, seconds = self._weather
                self._weather = None
                if kind == "dead zone":
                    await self._dead_zone(seconds)
                else:
                    await self._load_anew()
            if bot.slots and not met:
                met, until = True, clock() + talk if self._host else until
            if self._host and clock() >= until:
                await self._sum_up()
                await self._end()
                return "ended" if met else "nobody came"
            # A host whom everybody has left ends the visit soon.
            within = min(until - clock(), SOON) if self._host else SOON
            if self._host and met and not bot.slots and not bot.queue:
                until = min(until, clock() + 5)
            try:
                await bot.until(self._changes(), "change", max(0.05, within))
            except TimeoutError:
                continue
            except Closed as closed:
                if closed.code in FOR_GOOD and bot.state not in OVER:
                    raise Failed(Figure("visit", "connection", 0.0, in_words(closed))) from None
                if bot.state not in OVER:
                    await self._come_back("reconnect", clock())

    def _changes(self) -> Callable[[], bool]:
        """Whether something that matters is different from now."""
        bot = self._bot
        seen = (bot.state, bot.slots, bot.queue)
        return lambda: self._weather is not None or seen != (bot.state, bot.slots, bot.queue)

    async def _look_around(self) -> None:
        """Wishes for whom one sees, lets in who waits, and remembers who was away."""
        bot = self._bot
        self._away = self._away or any(one["connection"] == "lost" for one in bot.people)
        with contextlib.suppress(ConnectionError):
            if set(bot.slots) != self._shown:
                self._shown = set(bot.slots)
                await bot.wish(HEIGHT)
            if self._host:
                for one in bot.queue:
                    if one["session"] not in self._let_in and one["connection"] == "connected":
                        self._let_in.add(one["session"])
                        await bot.say("admit", participant=one["participant"], session=one["session"])

    async def _dead_zone(self, seconds: float) -> None:
        """Nothing gets through, either way; then one comes back by oneself."""
        self._away = True
        self._bot.deaf(True)
        await asyncio.sleep(seconds)
        self._bot.deaf(False)
        await self._come_back("after dead zone", time.perf_counter())

    async def _load_anew(self) -> None:
        """The page is loaded again: another session, another connection."""
        self._away = True
        await self._come_back("reconnect", time.perf_counter(), anew=True)

    async def _come_back(self, name: str, begun: float, *, anew: bool = False) -> None:
        """Says hello, restarts ICE or makes a new connection, until somebody is heard again; told as `name`."""
        self._away = True
        bot = self._bot
        alone = not bot.slots
        try:
            kept = await self._say_hello_again(anew=anew)
            if bot.state in OVER:
                return
            if bot.state != "admitted":
                raise ConnectionError(f"one waits again: {bot.state}")
            for event in ("path", "connected", "failed"):
                bot.times.pop(event, None)
            bot.sounds.clear()
            if kept:
                await bot.restart_ice()
                await bot.until(lambda: "path" in bot.times, "path", SOON)
            else:
                await bot.join()
                await self._connected()
                if not alone:
                    await bot.until(lambda: bot.sounds or not bot.slots, "sound", SOON)
        except Closed as closed:
            unless_over(closed)
            raise Failed(Figure("media", name, _since(begun), in_words(closed))) from None
        except Refused as refused:
            if refused.problem in ("gone", "session-replaced"):
                raise TooLate from None
            raise Failed(Figure("media", name, _since(begun), in_words(refused))) from None
        except (OSError, TimeoutError, ValueError, aiohttp.ClientError) as error:
            raise Failed(Figure("media", name, _since(begun), in_words(error))) from None
        self._shown = set()
        self._tell(Figure("media", name, _since(begun)))

    async def _say_hello_again(self, *, anew: bool = False) -> bool:
        """A new websocket, tried again and again; returns whether the server still has one's peer."""
        bot, begun = self._bot, time.perf_counter()
        while True:
            try:
                if anew:
                    await bot.open()
                await bot.hello()
                return bot.welcome["media"] == "kept" and not anew and self.inside
            except Closed as closed:
                if closed.code in FOR_GOOD:
                    raise
                anew = anew or closed.code == RENEW
            except Refused as refused:
                if refused.status not in (429, 500, 502, 503, 504):
                    raise
            except (OSError, TimeoutError, aiohttp.ClientError):
                if time.perf_counter() - begun > GIVE_UP:
                    raise
            await asyncio.sleep(AGAIN)

    async def _end(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await self._bot.say("end")
            await self._bot.until(lambda: self._bot.state == "ended", "end", 2)

    async def _leave(self) -> None:
        if self.inside and self._bot.state not in OVER:
            await self._sum_up()
            if self._host:
                # Nobody is left behind in a room without staff.
                await self._end()
        if self._bot.welcome:
            await self._bot.leave()
        else:
            await self._bot.close()

    async def _sum_up(self, still: float = STILL_MS) -> None:
        """How long pictures stood still, and how much sound was missing; told once."""
        if not self.inside:
            return
        self.inside = False
        with contextlib.suppress(ConnectionError, TimeoutError):
            for figure in summary(await self._bot.heard(), self._bot.fed(), away=self._away, still=still):
                self._tell(figure)


def summary(said: Mapping[str, Any], fed: set[int], *, away: bool, still: float = STILL_MS) -> list[Figure]:
    """Figures of what a bot says that it heard.

    Args:
        said: `Inside::describe` of the native crowd.
        fed: SSRCs of slots that somebody is in now: what stands still there still counts.
        away: somebody's network was away, so that nothing of it is the server's.
        still: milliseconds after which a picture stands still.
    """
    if not said:
        return []
    ears = said["ears"]
    frozen = sum(float(one["frozen_ms"]) for one in ears if not one["sound"])
    frozen += sum(
        float(one["still_ms"]) for one in ears if not one["sound"] and one["ssrc"] in fed and one["still_ms"] > still
    )
    if away:
        return [Figure("media", "freeze, somebody was away", frozen)]
    sounds = [one for one in ears if one["sound"] and one["received"]]
    missing = sum(int(one["skipped"]) for one in sounds)
    total = missing + sum(int(one["received"]) for one in sounds)
    problem = ""
    if total and missing / total > MISSING:
        own = " (the bot itself was too slow)" if said["overflow"] else ""
        problem = f"more than {MISSING:.1%} of the sound was missing{own}"
    return [Figure("media", "freeze", frozen), Figure("media", "sound missing", missing * PACKET_MS, problem)]


def unless_over(error: BaseException) -> None:
    """Nothing has failed where somebody ended the visit meanwhile.

    Raises:
        TooLate: that is what `error` says.
    """
    if isinstance(error, Closed) and error.code == OVER_CODE:
        raise TooLate from None


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
