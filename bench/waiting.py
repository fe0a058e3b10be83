"""Waiting for a condition, with a deadline; never for a while and then hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def wait_until(condition: Callable[[], Any], *, deadline: float, what: str, every: float = 0.05) -> Any:
    """Ask `condition` until it answers something true, and return that.

    Args:
        condition: plain or async; an AssertionError from it counts as "not yet".
        deadline: seconds from now.
        what: what is waited for, for the failure's text.
        every: seconds between two questions.

    Raises:
        TimeoutError: naming `what`, and the last answer or AssertionError.
    """
    end = time.monotonic() + deadline
    last: object
    while True:
        try:
            last = condition()
            if inspect.isawaitable(last):
                last = await last
            if last:
                return last
        except AssertionError as error:
            last = error
        if time.monotonic() >= end:
            raise TimeoutError(f"not within {deadline:g} s: {what} (last: {last!r})")
        await asyncio.sleep(every)
