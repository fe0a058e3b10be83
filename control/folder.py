"""The data folder: of one server at a time."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import IO


class InUse(Exception):
    """The message says what to change."""


def own(data: Path, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> Path:
    """Makes the data folder, and keeps other servers out of it: two would tell their clients different things.

    Returns:
        The file that is locked until `stack` is closed.

    Raises:
        InUse: another has it, or it can't be written to.
    """
    path = data / "lock"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock: IO[bytes] = path.open("wb")
    except OSError as error:
        raise InUse(f"can't use {data}: {error.strerror} (expected a folder to write to)") from None
    stack.callback(lock.close)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InUse(f"{data} is in use by another server") from None
    return path
