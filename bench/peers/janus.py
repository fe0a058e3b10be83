"""Janus (Debian's package `janus`), with the same native bots: the videoroom plugin over its websocket.

Each participant has a PeerConnection to publish and one to receive all others (Janus 1.x: one subscriber handle with a
stream for each). Janus is an ICE-lite agent here, as we are, so that the bots do the same to both.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp

from .. import description
from ..bots import Sends, hears
from ..description import Credentials, Line, Remote
from ..native_bots import NativeBots
from ..serving import Usage, usage
from .island import ADDRESS

LIBRARY = Path("/usr/lib")
_numbers = itertools.count(1)


class Unavailable(Exception):
    """Janus is not installed, or did not start; the text says what to do."""


class Janus:
    """One Janus process.

    Attributes:
        libsrtp: the library that it really loaded.
        prefix: what runs it, and has to run its bots: a namespace's `nsenter …`.
        joined: when each bot that receives began to join, in seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        prefix: Sequence[str],
        *,
        library_path: Path | None = None,
        listen: tuple[str, int] | None = None,
        relay: Path | None = None,
    ) -> None:
        """
        Args:
            folder: for its configuration, log and websocket.
            library_path: a folder whose libsrtp2 is taken instead of the distribution's.
            listen: address and port of its websocket; a Unix socket in `folder` where None.
            relay: a Unix socket that leads to `listen`, which is in another namespace.
        """
        self.folder = folder
        self.libsrtp = ""
        self.prefix = tuple(prefix)
        self.joined: dict[int, float] = {}
        self._library_path = library_path
        self._listen = listen
        self._socket = relay or folder / "socket"
        self._child: asyncio.subprocess.Process | None = None
        self._session: _Session | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    async def start(self) -> Janus:
        """Starts it and opens a session.

        Raises:
            Unavailable: it isn't there, or has ended; with what it printed.
        """
        if shutil.which("janus") is None:
            raise Unavailable("Janus is not installed: apt-get install janus")
        self._configure()
        env = {**os.environ}
        if self._library_path is not None:
            env["LD_LIBRARY_PATH"] = str(self._library_path)
        with (self.folder / "janus.log").open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", *self.prefix, "janus", "-F", str(self.folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
            )
        self._session = await self._connect()
        self.libsrtp = _loaded(self.pid)
        return self

    async def stop(self) -> None:
        """Ends it; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._child.wait(), 5)
            except TimeoutError:
                self._child.kill()
                await self._child.wait()

    async def __aenter__(self) -> Janus:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def usage(self) -> Usage:
        """What it uses now."""
        return usage(self.pid)

    async def visit(self, native: NativeBots, people: int, sends: Sends) -> list[int]:
        """A room in which each of `people` bots sends to all others; returns the numbers of those that send."""
        assert self._session is not None, "not started"
        session, room = self._session, await self.room(people)
        publishers = await asyncio.gather(*(_publish(session, native, room, sends) for _ in range(people)))
        feeds = [feed for _, feed in publishers]
        for own in feeds:
            began = time.time()
            number = await _subscribe(session, native, room, [feed for feed in feeds if feed != own])
            self.joined[number] = began
        return [number for number, _ in publishers]

    async def room(self, people: int) -> int:
        """A room for so many; its number."""
        assert self._session is not None, "not started"
        number = secrets.randbits(31) + 1
        manager = await self._session.attach()
        asked = {"request": "create", "room": number, "publishers": people, "videocodec": "vp8", "fir_freq": 0}
        await manager.ask(asked)
        return number

    def log(self, last: int) -> str:
        """The last so many characters that it printed."""
        return (self.folder / "janus.log").read_text(encoding="utf-8", errors="replace")[-last:]

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        plugins = next(iter(LIBRARY.glob("**/janus/plugins")), LIBRARY)
        transports = next(iter(LIBRARY.glob("**/janus/transports")), LIBRARY)
        # Only what is used is loaded; the rest, and logging, would only cost it.
        others = [one.name for one in plugins.glob("*.so") if "videoroom" not in one.name]
        unused = [one.name for one in transports.glob("*.so") if "websockets" not in one.name]
        (self.folder / "janus.jcfg").write_text(
            f"""general: {{
  configs_folder = "{self.folder}"
  plugins_folder = "{plugins}"
  transports_folder = "{transports}"
  debug_level = 3
}}
media: {{ rtp_port_range = "20000-39999" }}
nat: {{ ice_lite = true }}
plugins: {{ disable = "{",".join(others)}" }}
transports: {{ disable = "{",".join(unused)}" }}
""",
            encoding="utf-8",
        )
        where = f'ws_unix = "{self._socket}"'
        if self._listen is not None:
            where = f'ws_ip = "{self._listen[0]}", ws_port = {self._listen[1]}'
        (self.folder / "janus.transport.websockets.jcfg").write_text(
            f'general: {{ json = "plain", ws = true, {where}, wss = false }}\n', encoding="utf-8"
        )
        (self.folder / "janus.plugin.videoroom.jcfg").write_text("general: { }\n", encoding="utf-8")

    async def _connect(self) -> _Session:
        assert self._child is not None
        for _ in range(200):
            if self._child.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                return await _Session.open(self._socket)
            await asyncio.sleep(0.05)
        raise Unavailable(f"Janus did not start:\n{self.log(2000)}")


def _loaded(pid: int) -> str:
    """The libsrtp that a process has loaded."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    return next(iter(re.findall(r"(/\S*libsrtp2\S*)", maps)), "none")


class _Session:
    """Janus's websocket protocol: transactions, and events for handles."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http, self._socket = http, socket
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._up: dict[int, asyncio.Event] = {}
        self.id = 0
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep_alive())]

    @classmethod
    async def open(cls, path: Path) -> _Session:
        http = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path)))
        try:
            socket = await http.ws_connect("ws://janus/", protocols=["janus-protocol"], max_msg_size=1 << 20)
        except BaseException:
            await http.close()
            raise
        session = cls(http, socket)
        session.id = (await session.ask({"janus": "create"}, "success"))["data"]["id"]
        return session

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._socket.close()
        await self._http.close()

    async def ask(self, message: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        """Sends a message; returns its answer of kind `wanted`, skipping `ack`.

        Raises:
            ConnectionError: Janus refused.
        """
        transaction = secrets.token_hex(8)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[transaction] = answer
        said = {**message, "transaction": transaction, **({"session_id": self.id} if self.id else {})}
        await self._socket.send_json(said)
        result = await asyncio.wait_for(answer, 20)
        if result["janus"] != wanted:
            raise ConnectionError(f"Janus answered {result}")
        return result

    async def until_up(self, handle: int) -> None:
        """Until a handle's media flows."""
        await asyncio.wait_for(self._up.setdefault(handle, asyncio.Event()).wait(), 20)

    async def attach(self) -> _Handle:
        made = await self.ask({"janus": "attach", "plugin": "janus.plugin.videoroom"}, "success")
        return _Handle(self, made["data"]["id"])

    async def _read(self) -> None:
        async for message in self._socket:
            said = message.json()
            if said["janus"] == "webrtcup":
                self._up.setdefault(said["sender"], asyncio.Event()).set()
            answer = self._answers.get(said.get("transaction", ""))
            if said["janus"] != "ack" and answer is not None and not answer.done():
                answer.set_result(said)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(20)
            await self._socket.send_json({"janus": "keepalive", "session_id": self.id, "transaction": "keepalive"})


class _Handle:
    """A participant's relation to the plugin: one PeerConnection at most."""

    def __init__(self, session: _Session, number: int) -> None:
        self._session, self.number = session, number

    async def ask(self, body: Mapping[str, Any], jsep: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A request; the plugin's data, and its `jsep` where there is one.

        Raises:
            ConnectionError: the plugin refused.
        """
        message = {"janus": "message", "handle_id": self.number, "body": body, **({"jsep": jsep} if jsep else {})}
        wanted = "success" if body["request"] == "create" else "event"
        answer = await self._session.ask(message, wanted)
        data = answer["plugindata"]["data"]
        if "error" in data:
            raise ConnectionError(f"Janus refused {body['request']}: {data['error']}")
        return {**data, "jsep": answer.get("jsep", {})}


async def _publish(session: _Session, native: NativeBots, room: int, sends: Sends) -> tuple[int, int]:
    """Joins and publishes; the bot's number, and Janus's of the feed."""
    handle, number, credentials = await session.attach(), next(_numbers), Credentials()
    ssrcs = [secrets.randbits(31) + 1 for _ in range(2)]
    joined = await handle.ask({"request": "join", "ptype": "publisher", "room": room})
    offer = description.write([Line("video", "sendonly", ssrcs=ssrcs)], credentials, native.fingerprint, setup="active")
    answer = await handle.ask({"request": "publish"}, {"type": "offer", "sdp": offer})
    remote = description.read(answer["jsep"]["sdp"])
    line = remote.lines[0]
    payload = next(payload for payload, name in line.payloads.items() if name == "vp8")
    video = {"ssrc": ssrcs[0], "pt": payload, "mid": line.mid, "width": 640, "height": 360}
    if payload in line.repairs:
        video |= {"rtx_ssrc": ssrcs[1], "rtx_pt": line.repairs[payload]}
    native.say("add", **_peer(number, credentials, remote), video=[{**video, **asdict(sends)}], hears=[])
    await session.until_up(handle.number)
    return number, joined["id"]


async def _subscribe(session: _Session, native: NativeBots, room: int, feeds: Sequence[int]) -> int:
    """Receives these feeds over one connection; the bot's number."""
    handle, number, credentials = await session.attach(), next(_numbers), Credentials()
    streams = [{"feed": feed} for feed in feeds]
    offered = await handle.ask({"request": "join", "ptype": "subscriber", "room": room, "streams": streams})
    remote = description.read(offered["jsep"]["sdp"])
    native.say("add", **_peer(number, credentials, remote), video=[], hears=hears(remote))
    answer = _mirror(offered["jsep"]["sdp"], credentials, native.fingerprint)
    await handle.ask({"request": "start", "room": room}, {"type": "answer", "sdp": answer})
    return number


def _peer(number: int, credentials: Credentials, remote: Remote) -> dict[str, Any]:
    return {
        "bot": number,
        "from": ADDRESS,
        "server": remote.address,
        "local": credentials.as_dict(),
        "remote": remote.credentials,
        "fingerprint": remote.fingerprint,
        "extensions": remote.extensions,
    }


def _mirror(offer: str, credentials: Credentials, fingerprint: str) -> str:
    """The answer that takes everything as it was offered, and receives it."""
    replaced = {
        "a=ice-ufrag": f"a=ice-ufrag:{credentials.ufrag}",
        "a=ice-pwd": f"a=ice-pwd:{credentials.pwd}",
        "a=fingerprint": f"a=fingerprint:sha-256 {fingerprint}",
        "a=setup": "a=setup:active",
        "a=sendonly": "a=recvonly",
    }
    dropped = ("a=candidate", "a=end-of-candidates", "a=ssrc", "a=ssrc-group", "a=msid", "a=ice-lite")
    lines = (line for line in offer.splitlines() if line.partition(":")[0] not in dropped)
    return "\r\n".join(replaced.get(line.partition(":")[0], line) for line in lines) + "\r\n"
