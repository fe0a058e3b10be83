"""Browsers, and codecs, without real-time threads.

As root Chromium makes its audio threads real-time (SCHED_RR), and two that spin take a machine of two cores whole: not
even what would end them runs any more. Nobody's phone has such threads either. Without CAP_SYS_NICE the kernel refuses
them (sched(7), capabilities(7)), and browsers go on with ordinary ones.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shlex
import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

# capabilities(7), as bits of the masks in /proc/<pid>/status.
SETPCAP = 1 << 8
SYS_NICE = 1 << 23
# What Chromium calls the threads that take, encode, send, receive and play sound, and that of its camera, and how far
# they are preferred (nice values, setpriority(2); slices in ns, sched_setattr(2), with which Linux from 6.12 on lets
# them interrupt others). Its sockets and what its processes tell each other are in the threads named after IO.
DEVICE_THREADS = (
    "FakeAudio",
    "AudioInput",
    "AudioOutput",
    "AudioThread",
    "AudioWorker",
    "AudioProcess",
    "CaptureThread",
    "Chrome_ChildIOT",
    "Chrome_IOThread",
    "ThreadPoolAudio",
    "WebRTC_W_and_N",
)
PREFERRED = -10
SLICE = 100_000
# linux/capability.h and linux/prctl.h.
_CAPABILITY_VERSION_3, _PR_CAPBSET_DROP = 0x20080522, 24
# struct sched_attr of linux/sched/types.h: size, policy (SCHED_OTHER), flags, nice, priority, runtime, deadline,
# period; and the call's number, which the C library has no name for.
_SCHED_ATTR, _SCHED_SETATTR = struct.Struct("=IIQiIQQQ"), {"x86_64": 314, "aarch64": 274}


@functools.cache
def prefix() -> tuple[str, ...]:
    """What to put before a browser's command, after what enters its namespace.

    Empty where it isn't needed (nothing started from here could become real-time) or not possible (no `setpriv`, or no
    right to give a capability up).
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    masks = {name: int(mask, 16) for name, mask in (line.split(":", 1) for line in lines) if name.startswith("Cap")}
    setpriv = shutil.which("setpriv")
    if setpriv is None or not masks["CapBnd"] & SYS_NICE or not masks["CapEff"] & SETPCAP:
        return ()
    # Who starts a browser may be real-time already, and that is inherited: see `give_up`.
    chrt = shutil.which("chrt")
    ordinary = () if chrt is None else (chrt, "--other", "0")
    return (*ordinary, setpriv, "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice", "--ambient-caps", "-sys_nice")


def give_up() -> None:
    """Takes CAP_SYS_NICE from this thread, those that it starts, and all that they run; does nothing where it can't.

    libsvtav1 makes every thread that opens an encoder real-time (SCHED_FIFO, 99) for root, and whatever that starts
    afterwards, browsers and servers, is real-time as well.
    """
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits of each
    if not hasattr(libc, "capget") or libc.capget(header, data) != 0:
        return
    libc.prctl(_PR_CAPBSET_DROP, SYS_NICE.bit_length() - 1, 0, 0, 0)
    for at in range(3):
        data[at] &= ~SYS_NICE
    libc.capset(header, data)


def prefer(thread: int, nice: int = PREFERRED) -> None:
    """Lets a thread (0: this one) go before others; by its nice value alone where the kernel knows no more.

    Raises:
        OSError: it has ended, or may not be preferred by us.
    """
    os.setpriority(os.PRIO_PROCESS, thread, nice)
    if (number := _SCHED_SETATTR.get(os.uname().machine)) is not None:
        attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, SLICE, 0, 0)
        ctypes.CDLL(None).syscall(number, thread, attributes, 0)


def prefer_all(pid: int) -> None:
    """The same for every thread that a process has by now, as far as it can be done."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            prefer(int(task.name))


def prefer_devices(pids: Iterable[int], nice: int = PREFERRED) -> int:
    """Lets these browsers' threads of sound and camera go before their others, as everywhere; returns how many.

    What they are without real time is one of a hundred threads that take turns on the machine, and late where a phone's
    or a computer's are not. Preferred threads (setpriority(2)) can't take a core whole. Without the right to it nothing
    changes, and 0 is returned.
    """
    found = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                if (task / "comm").read_text(encoding="utf-8").startswith(DEVICE_THREADS):
                    prefer(int(task.name), nice)
                    found += 1
    return found


@functools.cache
def launcher(program: str) -> str:
    """An executable that runs `program` behind the prefix, for those who take one path only, such as Playwright."""
    if not prefix():
        return program
    folder = tempfile.mkdtemp(prefix="unhurried-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    script = Path(folder) / Path(program).name
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*prefix(), program])} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return str(script)
