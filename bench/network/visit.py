"""A visit of real browsers on a real server, one of them a phone on a bad link: what everybody saw and heard of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Playwright, async_playwright

from .. import unhurried
from ..browser import Chromium, Page
from ..portal import Portal
from ..report import ROOT
from ..serving import Serving, busy_time, descendants, used_by
from ..speech import speech
from ..waiting import wait_until
from .cases import Case, Change, Deed
from .cores import Cores
from .film import film
from .namespaces import CLINIC, Namespace, Nat, Network, RunningLink

MEDIA = ROOT / "build" / "test-media"
MEASURE = Path(__file__).with_name("measure.js").read_text(encoding="utf-8")
COMPLAINT = re.compile(r"error|exception|traceback", re.IGNORECASE)
TURN = 6.0  # seconds that one speaks before the other does
# A cheap Android phone that is a few years old, as its browser describes it.
PHONE = {
    "user_agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile "
    "Safari/537.36",
    "width": 360,
    "height": 740,
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
PHONE_SAYS = {"memory": 2, "cores": 4, "drawn": True}  # GiB as `navigator.deviceMemory` has it
DESKTOP_SAYS = {"memory": 8, "cores": 8, "drawn": False}
# As small as the page still shows who waits at once: large pictures cost CPU to draw.
DESKTOP = {"width": 1120, "height": 500}
PATIENCE = 20.0  # seconds that a first picture is waited for
GATHERED = 120.0  # seconds in which everybody must have come in, and all that was measured been fetched
MEET = 40.0  # seconds within which everybody must see everybody


@dataclass
class Recording:
    """What one visit left behind; all times are seconds since the epoch.

    Attributes:
        people: participants' ids: the host, the phone's, another.
        pages: by participant what `measure.js` took: `{"samples", "messages", "firstPicture"}`.
        link: the counts of each 100 ms, see `edge`; `at` is their end.
        marks: moments by name: `begin`, `end`, `admitting`, and the case's own.
        load: share of the machine that was busy meanwhile, 0 to 1; `lab`: what this lab took of that.
        phone_cores: cores that the phone's processes used.
        held: share of the phone's periods in which it wanted more than its share of a core.
        metrics: what the server's counters grew by between `begin` and `end`; `complaints`: errors in its log.
    """

    people: list[str] = field(default_factory=list)
    pages: dict[str, Any] = field(default_factory=dict)
    link: list[dict[str, Any]] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    load: float = 0.0
    lab: float = 0.0
    phone_cores: float = 0.0
    held: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    @property
    def phone(self) -> str:
        """The participant on the phone."""
        return self.people[1]

    @property
    def others(self) -> list[str]:
        """Those who aren't."""
        return [one for one in self.people if one != self.phone]

    def speaker(self, at: float) -> str:
        """Whose turn it is."""
        return self.others[int(at / TURN) % len(self.others)]


def seed_of(case: str, run: int, seed: int) -> int:
    """What the link of one run begins with: its own for each case, the same whenever it is repeated."""
    return zlib.crc32(f"{case}/{run}/{seed}".encode())


class Visit(ABC):
    """One visit, from an empty machine to everybody's figures; what differs between servers is left to its children.

    Attributes:
        pages: by participant.
    """

    def __init__(self, case: Case, seed: int, stack: AsyncExitStack, scratch: Path) -> None:
        self.case = case
        self._seed = seed
        self._stack = stack
        self._scratch = scratch
        self.recording = Recording()
        self.pages: dict[str, Page] = {}

    async def run(self) -> Recording:
        """Has the visit, and takes it down.

        Raises:
            TimeoutError: somebody didn't come in, or didn't see and hear the others.
        """
        try:
            await self._prepare()
            await self._gather()
            await self._happen()
        except Exception as error:
            error.add_note(f"the server's log ends with:\n{self.log(2000)}")
            raise
        return self.recording

    @abstractmethod
    async def serve(self, network: Network, stack: AsyncExitStack, scratch: Path) -> str:
        """Starts the server in the clinic, books the visit, and takes note of `people`; the pages' origin."""

    @property
    @abstractmethod
    def server(self) -> int:
        """The server's process."""

    @abstractmethod
    async def gather(self) -> None:
        """Everybody but the phone's person comes in, who stands at the door."""

    @abstractmethod
    async def admit(self, phone: str) -> None:
        """Lets the phone's person in."""

    async def metered(self) -> dict[str, float]:
        """The server's counters, by name."""
        return {}

    def log(self, last: int) -> str:
        """The last so many characters of the server's log."""
        return ""

    async def _prepare(self) -> None:
        case, enter = self.case, self._stack.enter_async_context
        elsewhere = Cores.make("vardrum-elsewhere")
        self._stack.push_async_callback(elsewhere.close)
        elsewhere.enter(os.getpid())
        self._network = await Network.make(self._scratch)
        self._stack.push_async_callback(self._network.close)
        self._link: RunningLink = await self._network.link(case.up, case.down, seed=self._seed)
        self._nat: Nat | None = await self._network.nat() if case.nat else None
        self._cores = Cores.make("vardrum-phone", 1.0)
        self._stack.push_async_callback(self._cores.close)
        origin = await self.serve(self._network, self._stack, self._scratch)
        playwright = await enter(async_playwright())
        await asyncio.gather(*(self._open(playwright, place, origin) for place in range(case.people)))

    async def _open(self, playwright: Playwright, place: int, origin: str) -> None:
        case, me = self.case, self.recording.people[place]
        phone = me == self.recording.phone
        space = self._network.phone if phone else self._network.clinic
        browser = await Chromium.start(
            playwright,
            sound=speech(MEDIA, ("en", "sv", "de")[place]),
            picture=film(MEDIA, place),
            trusted=(origin,),
            prefix=(*(self._cores.prefix if phone else ()), *space.prefix),
            scratch=self._scratch,
        )
        self._stack.push_async_callback(_stop, browser)
        others = self.recording.others
        turn = case.speaks if phone else {"turn": others.index(me), "of": len(others), "seconds": TURN}
        looks: Mapping[str, Any] = PHONE if phone else DESKTOP
        said = {"speaks": turn, **(PHONE_SAYS if phone else DESKTOP_SAYS)}
        script = f"window.inLab = {json.dumps(said)};\n{MEASURE}"
        self.pages[me] = Page(await browser.tab(script=script, **looks), ("host", "phone", "other")[place])

    async def _gather(self) -> None:
        """Everybody comes in, the phone's person last, so that what they wait for is only their own admission."""
        phone = self.recording.phone
        await self.gather()
        for me in self.recording.others:
            await self._meets(me, [one for one in self.recording.others if one != me])
        if not self.case.seconds:
            await asyncio.sleep(self.case.settle)
        self._prefer()
        self.recording.marks["admitting"] = time.time()
        await self.admit(phone)
        if not self.case.seconds:
            # The first picture is all that is asked for; that it doesn't come is an answer too.
            with contextlib.suppress(TimeoutError):
                drawn = "measure.firstPicture"
                await wait_until(lambda: self.pages[phone].evaluate(drawn), deadline=PATIENCE, what=drawn)
            return
        for me in self.recording.people:
            await self._meets(me, [one for one in self.recording.people if one != me])

    async def _meets(self, me: str, others: list[str]) -> None:
        page = self.pages[me]

        async def met() -> bool:
            sample = await page.evaluate("measure.sample()")
            found = {(slot["participant"], slot["source"]): sample["in"].get(slot["mid"]) for slot in sample["slots"]}
            for one in others:
                picture, sound = found.get((one, "camera")), found.get((one, "microphone"))
                assert picture, "no picture"
                assert picture["frames"] > 0, "no picture yet"
                assert sound, "no sound"
                assert sound["packets"] > 0, "no sound yet"
            return True

        await wait_until(met, deadline=MEET, what=f"{page.name} sees and hears the others", every=0.3)

    async def _happen(self) -> None:
        case, marks = self.case, self.recording.marks
        every = round(case.every * 1000)
        self._prefer()
        if case.seconds:
            await asyncio.gather(*(page.evaluate(f"measure.start({every})") for page in self.pages.values()))
            await asyncio.sleep(case.settle)
        metrics, held, before = await self.metered(), self._cores.held(), self._used()
        begin = time.monotonic()
        marks["begin"] = time.time()
        for moment in case.moments:
            await asyncio.sleep(begin + moment.at - time.monotonic())
            await self._do(moment.what)
            if moment.mark:
                marks[moment.mark] = time.time()
        await asyncio.sleep(begin + case.seconds - time.monotonic())
        marks["end"] = time.time()
        span = max(time.monotonic() - begin, 1e-3)
        busy, lab, phone = ((after - once) / span for after, once in zip(self._used(), before, strict=True))
        self.recording.load, self.recording.lab = busy / (os.cpu_count() or 1), lab / (os.cpu_count() or 1)
        self.recording.phone_cores = phone
        now = self._cores.held()
        self.recording.held = (now.held - held.held) / max(1, now.periods - held.periods)
        grown = {name: value - metrics.get(name, 0.0) for name, value in (await self.metered()).items()}
        self.recording.metrics = {name: value for name, value in grown.items() if value}
        for me, page in self.pages.items():
            self.recording.pages[me] = _in_seconds(await page.evaluate("measure.take()"))
        said = self.log(10_000_000).splitlines()
        self.recording.complaints = [line for line in said if COMPLAINT.search(line)]
        offset = time.time() - time.monotonic()
        for line in self._link.counts.read_text(encoding="utf-8").splitlines():
            counted = json.loads(line)
            self.recording.link.append({**counted, "at": counted["at"] + offset})

    def _prefer(self) -> None:
        """Lets sound and cameras go first in the browsers, and the server be as if it had its own machine.

        Threads that begin later aren't preferred.
        """
        unhurried.prefer_devices(descendants(os.getpid()))
        for pid in descendants(self.server):
            unhurried.prefer_all(pid)

    def _used(self) -> tuple[float, float, float]:
        """CPU seconds so far of the machine, of all processes of this lab, and of those on the phone."""
        return busy_time(), used_by(descendants(os.getpid())), used_by(self._cores.processes())

    async def _do(self, what: Change | Deed) -> None:
        if isinstance(what, Change):
            await self._link.change(what.up, what.down)
        elif what == "rebind":
            assert self._nat is not None, "no NAT"
            self._nat.rebind()
        elif what == "half-core":
            self._cores.allow(0.5)
        else:
            await {"move": self._network.move, "cut": self._network.cut, "mend": self._network.mend}[what]()


class OurVisit(Visit):
    """On this server."""

    _serving: Serving | None = None

    async def serve(self, network: Network, stack: AsyncExitStack, scratch: Path) -> str:
        clinic: Namespace = network.clinic
        # One shard: which room is on which makes no difference to one visit.
        env = {"VARDRUM_MEDIA__SHARDS": "1"}
        serving = Serving(scratch / "server", host=CLINIC, prefix=clinic.prefix, env=env)
        self._serving = await stack.enter_async_context(serving)
        relay = await clinic.relay(CLINIC, int(serving.http.rpartition(":")[2]))
        self._metrics = await clinic.relay("127.0.0.1", serving.metrics_port)
        self._portal = await stack.enter_async_context(Portal(serving.http, serving.key, relay=relay))
        _, self._invited = await self._portal.book(self.case.people)
        self.recording.people = [one["id"] for one in self._invited]
        return serving.http

    @property
    def server(self) -> int:
        assert self._serving is not None, "not started"
        return self._serving.pid

    async def gather(self) -> None:
        host, phone, *rest = self._invited
        url = f"{host['join_url'].partition('#')[0]}#embed_token={(await self._portal.vouch(host))['embed_token']}"
        waiting = [self.pages[one["id"]].arrive(one["join_url"]) for one in (*rest, phone)]
        await asyncio.gather(self.pages[host["id"]].arrive(url, into="admitted"), *waiting)
        for one in rest:
            await self.admit(one["id"])

    async def admit(self, phone: str) -> None:
        await self.pages[self._invited[0]["id"]].admit(phone)
        await self.pages[phone].until("admitted")

    async def metered(self) -> dict[str, float]:
        assert self._serving is not None, "not started"
        found = await self._serving.metrics(relay=self._metrics)
        return {name: value for name, value in found.items() if name.startswith("vardrum_")}

    def log(self, last: int) -> str:
        return "" if self._serving is None else self._serving.log(last)


async def _stop(browser: Chromium) -> None:
    """Playwright ends with the visit, and what doesn't close by then is killed by it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(browser.stop(), 15)


def _in_seconds(taken: dict[str, Any]) -> dict[str, Any]:
    """Times of a page, which has them in ms."""
    for one in (*taken["samples"], *taken["messages"]):
        one["at"] /= 1000
    if taken["firstPicture"] is not None:
        taken["firstPicture"] /= 1000
    return taken


async def have(case: Case, seed: int, visit: type[Visit] = OurVisit) -> Recording:
    """One visit on an otherwise empty machine."""
    with tempfile.TemporaryDirectory(prefix="vardrum-lab-") as folder:
        async with AsyncExitStack() as stack:
            # A page that hangs answers nothing, ever; the other cases must not wait for it.
            async with asyncio.timeout(case.settle + case.seconds + GATHERED):
                return await visit(case, seed, stack, Path(folder)).run()
