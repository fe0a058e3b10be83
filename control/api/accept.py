"""Which of several kinds of answer a caller would rather have (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

# No client names more; a longer header is read as far as this.
MAX_HEADER = 1000


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The best of `offered`, which stands in order of our own preference; the first where nothing fits or is said."""
    ranges = [_range(one) for one in (accept or "").lower()[:MAX_HEADER].split(",")]

    def weight(kind: str) -> float:
        fitting = [(how, q) for name, q in ranges if (how := _fits(name, kind)) is not None]
        return max(fitting)[1] if fitting else 0.0

    # max() takes the first of several that are equal.
    return max(offered, key=weight)


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                q = float(value)
            except ValueError:
                return name, 0.0
            return name, q if 0.0 <= q <= 1.0 else 0.0
    return name, 1.0


def _fits(name: str, kind: str) -> int | None:
    """How exactly a media range names this kind; None where it doesn't."""
    if name == kind:
        return 2
    if name == kind.partition("/")[0] + "/*":
        return 1
    return 0 if name == "*/*" else None
