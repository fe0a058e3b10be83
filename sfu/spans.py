"""For how long something has been so, in seconds of whatever clock is asked."""

from __future__ import annotations


def since(before: float | None, so: bool, now: float) -> float | None:
    """Since when something is so without a break, where until now that was `before`; None while it isn't."""
    if not so:
        return None
    return now if before is None else before


def lasts(begun: float | None, seconds: float, now: float) -> bool:
    """Whether what has begun then has been so for so many seconds."""
    return begun is not None and now - begun >= seconds
