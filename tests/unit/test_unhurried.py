"""The threads of a browser's devices are preferred, and no other: by the names that the kernel has of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from vardrum.bench.unhurried import DEVICE_THREADS, prefer_devices


@pytest.mark.parametrize(
    ("name", "preferred"), [(DEVICE_THREADS[0], True), ("CaptureThread", True), ("VizCompositorTh", False)]
)
def test_threads_of_devices_are_preferred(name: str, preferred: bool) -> None:
    named, over = threading.Event(), threading.Event()
    found: list[int] = []

    def run() -> None:
        Path("/proc/thread-self/comm").write_text(name, encoding="utf-8")
        found.append(threading.get_native_id())
        named.set()
        over.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert named.wait(10)
        before = os.getpriority(os.PRIO_PROCESS, found[0])
        # Whoever runs this may not have the right to more, but everybody has to less.
        assert prefer_devices([os.getpid()], before + 1) == int(preferred)
        assert os.getpriority(os.PRIO_PROCESS, found[0]) == before + int(preferred)
    finally:
        over.set()
        thread.join()
