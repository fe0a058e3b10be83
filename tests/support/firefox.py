"""Firefox ESR with fake devices, driven through WebDriver BiDi (W3C) on its own websocket.

Playwright only drives a Firefox of its own making; what patients have is this one.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ...bench import unhurried
from ...bench.network.namespaces import CLINIC, Namespace
from ...bench.process import Process
from .page import RECORDER

PREFERENCES: Mapping[str, bool | int | str] = {
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.getusermedia.insecure.enabled": True,
    "media.devices.insecure.enabled": True,
    # A page in a namespace of the tests counts as one that came over TLS.
    "dom.securecontext.allowlist": CLINIC,
    # No OpenH264 here, and no visit to its maker to fetch one.
    "media.gmp-manager.updateEnabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "extensions.update.enabled": False,
    "services.settings.server": "data:,",
    "intl.accept_languages": "en",
    "dom.disable_open_during_load": False,
}


class BidiError(Exception):
    """Firefox refused a command, or a script threw."""


def executable() -> str:
    """The system's Firefox ESR, else the one that `make test` has put under build/browsers (Ubuntu)."""
    own = Path(__file__).parents[2] / "build/browsers/firefox/firefox"
    found = shutil.which("firefox-esr") or (str(own) if own.exists() else None)
    assert found, "no Firefox ESR: `make test` installs it"
    return found


class Bidi:
    """A WebDriver BiDi connection: commands out, answers matched by id; events are not subscribed to."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def command(self, method: str, parameters: Mapping[str, Any], *, deadline: float = 30.0) -> Any:
        """The `result` of a command.

        Raises:
            BidiError: with Firefox's own words.
            TimeoutError: no answer within `deadline` seconds.
        """
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": dict(parameters)})
        return await asyncio.wait_for(answer, deadline)

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            said = json.loads(message.data)
            answer = self._waiting.pop(said.get("id"), None)
            if answer is None or answer.done():
                continue
            if said["type"] == "success":
                answer.set_result(said["result"])
            else:
                answer.set_exception(BidiError(f"{said.get('error')}: {said.get('message')}"))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BidiError("the connection to Firefox is closed"))


class FirefoxTab:
    """A page (see `page.Tab`)."""

    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self._context = context

    async def goto(self, url: str) -> None:
        await self._bidi.command("browsingContext.navigate", {"context": self._context, "url": url, "wait": "complete"})

    async def reload(self) -> None:
        await self._bidi.command("browsingContext.reload", {"context": self._context, "wait": "complete"})

    async def evaluate(self, expression: str) -> Any:
        result = await self._bidi.command(
            "script.evaluate",
            {
                # As JSON text, so that the value needs no decoding of BiDi's own value types.
                "expression": f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
                "target": {"context": self._context},
                "awaitPromise": True,
                "userActivation": True,
            },
        )
        if result["type"] == "exception":
            raise BidiError(f"{result['exceptionDetails'].get('text')} in {expression}")
        return json.loads(result["result"]["value"])

    async def screenshot(self, path: Path) -> None:
        shot = await self._bidi.command("browsingContext.captureScreenshot", {"context": self._context})
        path.write_bytes(base64.b64decode(shot["data"]))

    async def resize(self, width: int, height: int) -> None:
        await self._bidi.command(
            "browsingContext.setViewport",
            {"context": self._context, "viewport": {"width": width, "height": height}},
        )

    async def close(self) -> None:
        await self._bidi.command("browsingContext.close", {"context": self._context})


class Firefox:
    """A Firefox process with a fresh profile."""

    def __init__(self, process: Process, session: aiohttp.ClientSession, bidi: Bidi) -> None:
        self.process = process
        self._session = session
        self._bidi = bidi

    @classmethod
    async def start(cls, folder: Path, *, namespace: Namespace | None = None) -> Firefox:
        """Start it with its profile and its output in `folder`; in `namespace` where one is given."""
        profile = folder / "profile"
        profile.mkdir(parents=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        process = await Process.start(
            [
                *(namespace.prefix if namespace else ()),
                *unhurried.prefix(),
                executable(),
                "--headless",
                "--no-remote",
                "--profile",
                str(profile),
                "--remote-debugging-port",
                "0",
            ],
            log=folder / "firefox.log",
            env={"MOZ_CRASHREPORTER_DISABLE": "1", "HOME": str(folder)},
        )
        session: aiohttp.ClientSession | None = None
        try:
            address = (await process.printed("WebDriver BiDi listening on", deadline=60)).split()[-1]
            connector: aiohttp.BaseConnector | None = None
            if namespace:
                inside = urlsplit(address)
                assert inside.hostname
                assert inside.port
                connector = aiohttp.UnixConnector(path=await namespace.relay(inside.hostname, inside.port))
            session = aiohttp.ClientSession(connector=connector)
            bidi = Bidi(await session.ws_connect(f"{address}/session", max_msg_size=0))
            await bidi.command("session.new", {"capabilities": {}})
            await bidi.command("script.addPreloadScript", {"functionDeclaration": f"() => {{ {RECORDER} }}"})
        except BaseException:
            if session:
                await session.close()
            await process.kill()
            raise
        return cls(process, session, bidi)

    async def tab(self, *, width: int = 1000, height: int = 700) -> FirefoxTab:
        """A new page with the recorder in place; its devices are Firefox's fake ones."""
        made = await self._bidi.command("browsingContext.create", {"type": "tab"})
        tab = FirefoxTab(self._bidi, made["context"])
        await tab.resize(width, height)
        return tab

    async def stop(self) -> None:
        await self._bidi.close()
        await self._session.close()
        await self.process.kill()
