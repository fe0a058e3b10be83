"""What tests start ends with them, however they end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vardrum.bench.process import Process
from vardrum.tests.support.wait import wait_until

PARENT = """
import asyncio, sys
from pathlib import Path
from vardrum.bench.process import Process

async def main():
    child = await Process.start(["sleep", "infinity"], log=Path(sys.argv[1]))
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_child_does_not_outlive_killed_tests(tmp_path: Path) -> None:
    log = tmp_path / "parent.log"
    parent = await Process.start([sys.executable, "-c", PARENT, str(tmp_path / "child.log")], log=log)

    def pid() -> int:
        return int(log.read_text() or 0)

    child = await wait_until(pid, deadline=20, what="the child's pid")
    assert running(child)
    os.kill(parent.pid, signal.SIGKILL)
    await wait_until(lambda: not running(child), deadline=10, what="the child's end")
    await parent.stop()


async def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    script = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\nsignal.pause()"
    child = await Process.start([sys.executable, "-c", script], log=tmp_path / "log")
    await child.printed("deaf", deadline=20)
    assert await child.stop(deadline=0.2) == -signal.SIGKILL
    assert not child.running
