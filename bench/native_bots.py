"""The native crowd (`bench/native`): built, started as a process of its own, driven by JSON lines.

Python says who is to be added with which SDP values; the process does ICE, DTLS, SRTP and media for hundreds of bots,
and says each second what it has counted. Nothing per packet happens here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .report import ROOT

CRATE = ROOT / "bench" / "native"
HISTOGRAMS = ("sound_delay", "picture_delay", "late", "sending")
PROFILES = "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
_LINE = 1 << 24
_LINEAR, _PARTS = 64, 32


def build() -> Path:
    """Builds the bots' program and says where it is.

    Raises:
        subprocess.CalledProcessError: Cargo has said why on standard error.
        FileNotFoundError: there is no Cargo.
    """
    command = ["cargo", "build", "--quiet", "--offline", "--locked", "--release", "--message-format", "json"]
    result = subprocess.run(command, cwd=CRATE, stdout=subprocess.PIPE, text=True, check=True)
    built = (json.loads(line).get("executable") for line in result.stdout.splitlines())
    return Path(next(path for path in built if path))


class Histogram:
    """Times in microseconds, in the buckets of `bench/native/src/figures.rs`: at most 3 % wide."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, buckets: Iterable[tuple[int, int]]) -> None:
        """Takes `(bucket, count)` pairs."""
        for bucket, count in buckets:
            self.counts[bucket] += count

    @property
    def total(self) -> int:
        return self.counts.total()

    def above(self, micros: int) -> int:
        """How many times are longer, those of the bucket in which `micros` is left out."""
        return sum(count for bucket, count in self.counts.items() if _edge(bucket) > micros)

    def percentile(self, share: float) -> float:
        """Microseconds below which `share` (0 to 1) of all times are, at most a bucket too high; NaN without any."""
        wanted, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return float(_edge(bucket + 1))
        return float("nan")


def _edge(bucket: int) -> int:
    """The least microseconds that fall into a bucket."""
    if bucket < _LINEAR:
        return bucket
    doublings, part = divmod(bucket - _LINEAR, _PARTS)
    return (_PARTS + part) << (doublings + 1)


@dataclass
class Figures:
    """What bots have counted: `counts` since their process began, histograms since the last `clear`."""

    counts: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in HISTOGRAMS})

    def take(self, said: Mapping[str, Any]) -> None:
        """Takes one second's line of one process."""
        self.counts = Counter({name: value for name, value in said.items() if name not in HISTOGRAMS})
        for name, histogram in self.histograms.items():
            histogram.add(said[name])

    def clear(self) -> None:
        """Begins the histograms anew."""
        self.histograms = {name: Histogram() for name in HISTOGRAMS}


class NativeBots:
    """One process of bots.

    Attributes:
        fingerprint: SHA-256 of the bots' certificate, as in `a=fingerprint`.
        figures: what it has counted, at most a second old.
        problems: what it complained about.
    """

    def __init__(self, on_event: Callable[[str, int, int, str], None] | None = None) -> None:
        """
        Args:
            on_event: called with the event's name (`connected picture sound path lost closed failed`), the bot,
                microseconds since 1970, and a detail.
        """
        self.fingerprint = ""
        self.figures = Figures()
        self.problems: list[str] = []
        self._on_event = on_event
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: list[asyncio.Future[list[dict[str, Any]]]] = []
        self._introduced: asyncio.Future[str] | None = None
        self._reported = asyncio.Event()

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    async def start(self, program: Path, *, profiles: str = PROFILES, prefix: Iterable[str] = ()) -> NativeBots:
        """Starts the program; `prefix` is a command that runs it, such as `nice -n 5`."""
        self._introduced = asyncio.get_running_loop().create_future()
        self._child = await asyncio.create_subprocess_exec(
            # Whatever ends us, no bots are left over.
            *("setpriv", "--pdeathsig", "KILL"),
            *prefix,
            str(program),
            profiles,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
        )
        self._reader = asyncio.create_task(self._read())
        self.fingerprint = await asyncio.wait_for(self._introduced, 10)
        return self

    async def stop(self) -> None:
        """Says goodbye for all bots and ends the process; may be called twice."""
        if self._child is None:
            return
        if self._child.stdin is not None and not self._child.stdin.is_closing():
            self._child.stdin.close()
        try:
            await asyncio.wait_for(self._child.wait(), 5)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
        if self._reader is not None:
            self._reader.cancel()

    async def __aenter__(self) -> NativeBots:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def say(self, do: str, **fields: Any) -> None:
        """Sends a command (`bench/native/src/plan.rs`)."""
        assert self._child is not None, "not started"
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")

    async def ask(self, bot: int | None = None) -> dict[int, dict[str, Any]]:
        """What each bot, or one, has sent and heard, by its number."""
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self.say("ask", **({} if bot is None else {"bot": bot}))
        return {one["bot"]: one for one in await asyncio.wait_for(answer, 10)}

    async def next_figures(self) -> Figures:
        """The figures, after the next second's have come."""
        self._reported.clear()
        await asyncio.wait_for(self._reported.wait(), 30)
        return self.figures

    async def _read(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            self._take(json.loads(line))
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(ConnectionError("the bots' process has ended"))

    def _take(self, said: dict[str, Any]) -> None:
        if "figures" in said:
            self.figures.take(said["figures"])
            self._reported.set()
        elif "event" in said:
            if self._on_event is not None:
                self._on_event(said["event"], said["bot"], said["at"], said["what"])
        elif "answer" in said:
            answer = self._answers.pop(0)
            # Who asked may have been cancelled meanwhile.
            if not answer.done():
                answer.set_result(said["answer"])
        elif "fingerprint" in said:
            if self._introduced is not None and not self._introduced.done():
                self._introduced.set_result(said["fingerprint"])
        elif "error" in said:
            self.problems.append(said["error"])
