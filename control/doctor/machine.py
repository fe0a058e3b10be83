"""The machine: its clock, its cores, and what its kernel allows."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

from .finding import Finding, ok, warning, wrong

# What the engine asks for, for each shard (SOCKET_BUFFER in sfu/engine/src/io/socket.rs).
SOCKET_BUFFER = 8 << 20
# A page has a websocket and, behind some firewalls, media by TCP; four thousand are more than one machine's visits.
DESCRIPTORS, FEWEST_DESCRIPTORS = 4096, 512
# To read these costs a microsecond or more, for each packet.
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies")
CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
SYSCTL = Path("/proc/sys/net/core")


def clock() -> Finding:
    """Whether something keeps this machine's clock right, as the kernel knows it."""
    if synchronised():
        return ok("clock", "something keeps it right (the kernel says so)")
    return warning(
        "clock",
        "nothing keeps it right, and by it visits open, logins end and the audit trail is written",
        "timedatectl set-ntp true (or install chrony; on a virtual machine whose host sets it, nothing)",
    )


class _Timex(ctypes.Structure):
    # Linux' include/uapi/linux/timex.h; what follows isn't looked at.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def synchronised() -> bool:
    """adjtimex(2) that changes nothing; STA_UNSYNC is 0x40."""
    found = _Timex()
    state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(found))
    return state >= 0 and not found.status & 0x40


def clock_source(file: Path = CLOCK_SOURCE) -> Finding:
    """How the clock is read, which is done for each packet."""
    try:
        source = file.read_text().strip()
    except OSError:
        return ok("clock source", "the kernel doesn't say which it is")
    if source in SLOW_CLOCKS:
        return warning(
            "clock source",
            f"{source} is slow to read, which costs the engine with each packet",
            "dmesg | grep -i clocksource says why it isn't tsc or kvm-clock",
        )
    return ok("clock source", f"{source} is quick to read")


def buffers(folder: Path = SYSCTL) -> Finding:
    """Whether the kernel gives media sockets what the engine asks for."""
    found = {}
    for name in ("rmem_max", "wmem_max"):
        try:
            found[name] = int((folder / name).read_text())
        except (OSError, ValueError):
            return ok("buffers", "the kernel doesn't say how large they may be (a container?)")
    small = [name for name, size in found.items() if size < SOCKET_BUFFER]
    if not small:
        return ok("buffers", f"sockets may have the {SOCKET_BUFFER >> 20} MB that the engine asks for")
    said = " and ".join(f"net.core.{name} is {found[name]}" for name in small)
    settings = " ".join(f"net.core.{name}={SOCKET_BUFFER}" for name in small)
    return warning(
        "buffers",
        f"{said}: with hundreds of visits, packets that wait too long are lost (unless the server runs as root)",
        f"sysctl -w {settings} (and put the same into /etc/sysctl.d/60-vardrum.conf)",
    )


def descriptors(limit: int | None = None) -> Finding:
    """How many files and connections may be open; the server takes all that the hard limit allows."""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY or limit >= DESCRIPTORS:
        return ok("descriptors", "enough connections may be open")
    say = wrong if limit < FEWEST_DESCRIPTORS else warning
    return say(
        "descriptors",
        f"only {limit} connections may be open at once (of who runs this), and each page takes one or two",
        "LimitNOFILE=65536 in the service's unit, or ulimit -Hn 65536",
    )


def cores(shards: int, count: int | None = None) -> Finding:
    """Whether there is a core for each thread that moves packets."""
    count = len(os.sched_getaffinity(0)) if count is None else count
    if shards > count:
        return warning(
            "cores",
            f"media.shards is {shards}, and there are {count} cores: threads would wait for each other",
            'media.shards = "auto"',
        )
    if count < 2:
        return warning(
            "cores",
            "there is one core, for media and everything else",
            "two or more for anything but a trial",
        )
    return ok("cores", f"{count}, and {shards} of media's threads")
