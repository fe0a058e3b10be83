"""How much of the machine a phone has: a control group whose processes get so much of a core and no more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..waiting import wait_until

PERIOD = 0.1  # seconds, the kernel's default


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
        self.prefix = ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(folder / "cgroup.procs"))

    @classmethod
    def make(cls, name: str, cores: float) -> Self:
        """A new group with `cores` of a core.

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
            try:
                self._folder.rmdir()
            except OSError as error:
                raise AssertionError(str(error)) from None
            return True

        await wait_until(removed, deadline=10, what="an empty control group")
