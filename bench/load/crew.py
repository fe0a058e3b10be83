"""The people of one Locust process, in a process of their own: `python -m vardrum.bench.load.crew --http URL`.

Locust is gevent, and no WebRTC runs under gevent. So each Locust process starts one of these, which holds websockets in
asyncio and drives the native bots, and talks to it in JSON lines on standard input and output:

- `{"do": "come", "id": 1, "secret": {"invite": …}, "host": false, "talk": 60, "patience": 180, "layers": 2}`;
- `{"do": "leave", "id": 1}`;
- `{"do": "weather", "kind": "dead zone"|"reconnect", "share": 0.3, "seconds": 20}`: it happens to that share of people;

and back `{"ready": true}` first, `{"id": 1, "figure": {kind, name, ms, problem}}`, and `{"id": 1, "done": outcome}`.
When its input ends, however that comes, everybody leaves and it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO
from urllib.parse import urlsplit

import uvloop

from ..bots import Crowd
from ..native_bots import build
from ..serving import allow_files
from .person import Figure, Outcome, Person, in_words

# Everybody says goodbye within so many seconds when the crew ends.
GOODBYE = 6.0


class Crew:
    """Everybody who is in a visit for one Locust process."""

    def __init__(self, crowd: Crowd, base: str, out: TextIO, dice: random.Random) -> None:
        self._crowd, self._base, self._out, self._dice = crowd, base, out, dice
        self._people: dict[int, Person] = {}
        self._visits: dict[int, asyncio.Task[None]] = {}

    def obey(self, said: Mapping[str, Any]) -> None:
        """Does what one line says."""
        match said["do"]:
            case "come":
                number = int(said["id"])
                self._visits[number] = asyncio.create_task(self._take_part(number, said))
            case "leave" if (visit := self._visits.get(said["id"])) is not None:
                visit.cancel()
            case "weather":
                for person in list(self._people.values()):
                    if person.inside and self._dice.random() < said["share"]:
                        person.weather(said["kind"], said.get("seconds", 0.0))

    def say(self, **fields: Any) -> None:
        """One line to Locust; what nobody reads any more is lost."""
        with contextlib.suppress(BrokenPipeError):
            self._out.write(json.dumps(fields) + "\n")
            self._out.flush()

    async def _take_part(self, number: int, said: Mapping[str, Any]) -> None:
        def tell(figure: Figure) -> None:
            self.say(id=number, figure=asdict(figure))

        outcome: Outcome = "left"
        try:
            person = Person(
                self._crowd, self._base, said["secret"], tell, host=said["host"], layers=said.get("layers", 1)
            )
            self._people[number] = person
            outcome = await person.take_part(talk=said["talk"], patience=said["patience"])
        except asyncio.CancelledError:
            pass
        except Exception as error:
            tell(Figure("visit", "bot", 0.0, in_words(error)))
            outcome = "failed"
        finally:
            self._people.pop(number, None)
            self._visits.pop(number, None)
            self.say(id=number, done=outcome)

    async def end(self) -> None:
        """Everybody leaves."""
        visits = list(self._visits.values())
        for visit in visits:
            visit.cancel()
        if visits:
            await asyncio.wait(visits, timeout=GOODBYE)


def on_this_machine(base: str) -> bool:
    """Whether a server is on loopback, where bots can have addresses of their own."""
    host = urlsplit(base).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


async def _lines() -> AsyncIterator[bytes]:
    """What Locust says."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line


async def run(base: str, processes: int) -> None:
    """Until standard input ends.

    Raises:
        subprocess.CalledProcessError, FileNotFoundError: the native bots can't be built.
    """
    allow_files()
    # Whatever else prints does it on standard error: Locust reads lines from the other.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    crowd = Crowd(processes, own_addresses=on_this_machine(base))
    program = await asyncio.to_thread(build)
    crew = Crew(crowd, base, out, random.Random())
    try:
        for native in crowd.natives:
            await native.start(program)
        crew.say(ready=True)
        async for line in _lines():
            crew.obey(json.loads(line))
    finally:
        await crew.end()
        for native in crowd.natives:
            await native.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a crew."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.load.crew")
    parser.add_argument("--http", required=True, help="base URL of the server")
    parser.add_argument("--processes", type=int, default=1, help="native processes that bots are spread over")
    said = parser.parse_args(arguments)
    try:
        uvloop.run(run(said.http, said.processes))
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"the native bots can't be built (bench/native, by cargo): {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
