"""The lab's visit on Janus (Debian's package `janus`): same phone, link, cameras and voices, its server and page."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode

from ...peers.janus import Janus
from ...process import Process
from ..namespaces import CLINIC, Network
from ..visit import Visit

PAGES, SOCKET = 8000, 8188


class JanusVisit(Visit):
    """In a room of its videoroom plugin. Nobody is admitted there: who has the room's number is in."""

    _janus: Janus | None = None

    async def serve(self, network: Network, stack: AsyncExitStack, scratch: Path) -> str:
        clinic = network.clinic
        command = [*clinic.prefix, sys.executable, "-m", "http.server", "--bind", CLINIC]
        pages = await Process.start(
            [*command, "--directory", str(Path(__file__).parent), str(PAGES)], log=scratch / "pages.log"
        )
        stack.push_async_callback(pages.kill)
        relay = await clinic.relay(CLINIC, SOCKET)
        janus = Janus(scratch / "janus", clinic.prefix, listen=(CLINIC, SOCKET), relay=Path(relay))
        # Before it starts: its log tells why it doesn't.
        self._janus = janus
        await stack.enter_async_context(janus)
        self._room = await janus.room(self.case.people)
        self.recording.people = ["host", "phone", "other"][: self.case.people]
        self._origin = f"http://{CLINIC}:{PAGES}"
        return self._origin

    @property
    def server(self) -> int:
        assert self._janus is not None, "not started"
        return self._janus.pid

    async def gather(self) -> None:
        for me, page in self.pages.items():
            said = {"socket": f"ws://{CLINIC}:{SOCKET}", "room": self._room, "me": me}
            await page.tab.goto(f"{self._origin}/#{urlencode(said)}")
        await asyncio.gather(*(self.admit(one) for one in self.recording.others))

    async def admit(self, phone: str) -> None:
        await self.pages[phone].evaluate("vardrum.join()")

    def log(self, last: int) -> str:
        return "" if self._janus is None else self._janus.log(last)
