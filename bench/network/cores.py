"""How much of the machine a phone has: a control group whose processes get so much of a core and no more.

Outside of groups the kernel gives each session one of its own (sched(7), the autogroup feature), all of the same weight
whatever is in them: nice values then count between the threads of one browser and no further, and a phone's whole
browser weighs as much as one that plays somebody elsewhere. So who isn't on the phone is in a group too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..waiting import wait_until

PERIOD = 0.1  # seconds, the kernel's default
# What a group weighs, beside one ordinary thread of 1.
WEIGHT = 10


class NoCores(Exception):
    """There is no such group here; the text says why."""


@dataclass(frozen=True)
class Held:
    """How often the group was held back so far: `held` of `periods`, each of `PERIOD` seconds."""

    periods: int
    held: int


class Cores:
    """A control group of the `cpu` controller (cgroup v1 or v2).

    Attributes:
        prefix: what runs a command in it; what that starts is in it too.
    """

    def __init__(self, folder: Path, *, two: bool) -> None:
        self._folder = folder
        self._two = two
        self._entered: set[int] = set()
        self.prefix = ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(folder / "cgroup.procs"))

    @classmethod
    def make(cls, name: str, cores: float | None = None) -> Self:
        """A new group with `cores` of a core; as much as there is when None.

        Raises:
            NoCores: not root, or the kernel has no such controller.
        """
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        ones = [Path(where) for _, where, kind, how, *_ in mounts if kind == "cgroup" and "cpu" in how.split(",")]
        twos = [Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"]
        twos = [root for root in twos if "cpu" in (root / "cgroup.controllers").read_text(encoding="utf-8").split()]
        if not ones and not twos:
            raise NoCores("the kernel has no cpu controller for control groups")
        root = (ones or twos)[0]
        made = cls(root / f"{name}-{os.getpid()}", two=not ones)
        try:
            if not ones:
                (root / "cgroup.subtree_control").write_text("+cpu", encoding="utf-8")
            made._folder.mkdir()
            share, ordinary = ("cpu.shares", 1024) if ones else ("cpu.weight", 100)
            (made._folder / share).write_text(str(WEIGHT * ordinary), encoding="utf-8")
            if cores is not None:
                made.allow(cores)
        except OSError as error:
            raise NoCores(f"{error.filename}: {error.strerror}; control groups are made as root") from None
        return made

    def allow(self, cores: float) -> None:
        """From here on its processes get so much of a core together."""
        period = round(PERIOD * 1e6)
        quota = round(cores * period)
        if self._two:
            (self._folder / "cpu.max").write_text(f"{quota} {period}", encoding="utf-8")
        else:
            (self._folder / "cpu.cfs_period_us").write_text(str(period), encoding="utf-8")
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota), encoding="utf-8")

    def enter(self, pid: int) -> None:
        """Takes a process in, and what it starts from now on; it leaves as this is closed."""
        (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
        self._entered.add(pid)

    def processes(self) -> list[int]:
        """Numbers of those that are in it."""
        return [int(line) for line in (self._folder / "cgroup.procs").read_text(encoding="ascii").split()]

    def held(self) -> Held:
        """How often it was held back."""
        lines = (self._folder / "cpu.stat").read_text(encoding="utf-8").splitlines()
        found = {name: int(value) for name, value in (line.split() for line in lines)}
        return Held(found["nr_periods"], found["nr_throttled"])

    async def close(self) -> None:
        """Removes it as soon as its last process has ended."""

        def removed() -> bool:
            for pid in self._entered.intersection(self.processes()):
                (self._folder.parent / "cgroup.procs").write_text(str(pid), encoding="ascii")
            try:
                self._folder.rmdir()
            except OSError as error:
                raise AssertionError(str(error)) from None
            return True

        await wait_until(removed, deadline=10, what="an empty control group")
