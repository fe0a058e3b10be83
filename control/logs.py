"""Where the server's log goes: standard error, a line for each event, and never a reason to stop."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError

from .settings import Log


class _Patient:
    """A stream whose losses are borne: a full disk must not end visits because nobody can write that it is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _without_clients(record: logging.LogRecord) -> bool:
    """For aiohttp's `handle_error`, which names the client's address, and shows bytes of theirs that are no HTTP."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        # It was answered; what everybody in the internet can have written down would fill the disk.
        return False
    if record.args:
        record.msg, record.args = "a request failed outside of its handler", ()
    return True


def write_by(settings: Log, level: str | None = None) -> None:
    """From now on; `level` instead of the settings'."""
    stream = cast(TextIO, _Patient(sys.stderr))
    renderer: Any = (
        structlog.processors.JSONRenderer() if settings.format == "json" else structlog.dev.ConsoleRenderer()
    )
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        renderer,
    ]
    number = logging.getLevelNamesMapping()[(level or settings.level).upper()]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries log addresses of people at info; their warnings are enough.
    logging.basicConfig(level=logging.WARNING, stream=stream)
    logging.getLogger("aiohttp.server").addFilter(_without_clients)
