"""Two people of a load test who look: they decode what they get (aiortc, PyAV) and compare it with what was sent.

Native bots count packets and whole frames; that those are pictures, of the right person and in order, only a decoder
tells. They are in a process of their own, `python -m vardrum.bench.load.sample`, which takes one JSON line on standard
input, `{"base": URL, "host": secret, "guest": secret}`, says each second what has come since the line before, and ends
with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ..aiortc_client import AiortcClient
from ..crowd import BOTS_PREFIX
from ..portal import Portal, invitation

HOST, GUEST = 3, 6  # numbers, and tones, that aren't each other's neighbours
# What aiortc codes beside a load test without taking a core from it: width, height, frames a second.
FILM = (320, 180, 10)
# One in so many pictures is compared with what was sent.
SCORED = 5
EVERY = 1.0
# Seconds in which both must see each other.
MEET = 30.0


@dataclass
class Looks:
    """What the two have seen of each other.

    Attributes:
        decoded: pictures; unreadable: those that don't say whose they are; strange: somebody else's; disordered: those
            that came behind a later one.
        likenesses: PSNR against what was sent, in dB.
    """

    decoded: int = 0
    unreadable: int = 0
    strange: int = 0
    disordered: int = 0
    likenesses: list[float] = field(default_factory=list)

    def add(self, said: Mapping[str, Any]) -> None:
        """Takes one second's line."""
        self.decoded += said["decoded"]
        self.unreadable += said["unreadable"]
        self.strange += said["strange"]
        self.disordered += said["disordered"]
        self.likenesses += said["likenesses"]

    def judge(self) -> list[str]:
        """What is wrong with it; nothing, where all is seen."""
        if not self.decoded:
            return ["the sample that decodes saw nothing"]
        wrong = {"unreadable": self.unreadable, "somebody else's": self.strange, "out of order": self.disordered}
        return [f"{count} of the sample's pictures were {what}" for what, count in wrong.items() if count]

    def figures(self) -> dict[str, float]:
        """By name."""
        found: dict[str, float] = {"pictures decoded": self.decoded, "pictures unreadable": self.unreadable}
        if self.likenesses:
            found["picture PSNR median dB"] = round(statistics.median(self.likenesses), 2)
            found["picture PSNR least dB"] = round(min(self.likenesses), 2)
        return found


class Sample:
    """The process of the two, from outside."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._looks = Looks()
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._met = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begins their visit.

        Raises:
            TimeoutError: they didn't see each other.
        """
        _, (host, guest) = await self._portal.book(2)
        secrets = {"base": self._portal.base, "host": await self._portal.vouch(host), "guest": invitation(guest)}
        self._child = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", *BOTS_PREFIX, sys.executable, "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(secrets).encode() + b"\n")
        self._reader = asyncio.create_task(self._read(self._child.stdout))
        try:
            await asyncio.wait_for(self._met.wait(), MEET)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """They leave; may be called twice."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), 5)
        except TimeoutError:
            child.kill()
            await child.wait()
        if self._reader is not None:
            self._reader.cancel()

    def take(self) -> Looks:
        """What they have seen since this was last asked."""
        looks, self._looks = self._looks, Looks()
        return looks

    async def _read(self, lines: asyncio.StreamReader | None) -> None:
        assert lines is not None
        async for line in lines:
            self._looks.add(json.loads(line))
            if self._looks.decoded:
                self._met.set()


class _Watch:
    """What one of the two sees of the other."""

    def __init__(self, viewer: AiortcClient, other: AiortcClient) -> None:
        self._viewer, self._other = viewer, other
        self._decoded = 0
        self._newest = -1

    def look(self, looks: Looks) -> None:
        """Adds what has come since the last look."""
        mid = self._viewer.slots.get(self._other.id, {}).get("camera")
        if mid is None or mid not in self._viewer.watched:
            return
        watched = self._viewer.watched[mid]
        watched.scored = SCORED
        fresh = watched.decoded - self._decoded
        self._decoded = watched.decoded
        looks.decoded += fresh
        for picture in list(watched.pictures)[len(watched.pictures) - fresh :]:
            if picture.seen is None:
                looks.unreadable += 1
            elif picture.seen.person != self._other.person:
                looks.strange += 1
            else:
                looks.disordered += picture.seen.frame <= self._newest
                self._newest = max(self._newest, picture.seen.frame)
        looks.likenesses += watched.likenesses
        watched.likenesses.clear()


async def _meet(base: str, host_secret: Mapping[str, str], guest_secret: Mapping[str, str]) -> None:
    """The visit of the two, until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ended = asyncio.create_task(reader.read())
    async with (
        AiortcClient(base, HOST, secret=host_secret) as host,
        AiortcClient(base, GUEST, secret=guest_secret) as guest,
    ):
        await host.arrive()
        await guest.arrive()
        if guest.state == "waiting":
            await host.say("admit", participant=guest.id)
        await asyncio.gather(host.join(film=FILM), guest.join(film=FILM))
        for one in (host, guest):
            await one.until(lambda one=one: one.slots, "a slot")  # type: ignore[misc]
            await one.wish()
        watches = [_Watch(host, guest), _Watch(guest, host)]
        while not ended.done():
            await asyncio.wait([ended], timeout=EVERY)
            looks = Looks()
            for watch in watches:
                watch.look(looks)
            print(json.dumps(vars(looks)), flush=True)
        for one in (guest, host):
            with contextlib.suppress(ConnectionError):
                await one.leave()


def main() -> None:
    """Runs until standard input ends."""
    said = json.loads(sys.stdin.readline())
    asyncio.run(_meet(said["base"], said["host"], said["guest"]))


if __name__ == "__main__":
    main()
