"""What still has to go out on one websocket, bounded: a reader that is too slow is closed, it can't fill memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from aiohttp import web

# A whole list is some kB and an answer some 60; this is more than a client can be behind and still follow the visit.
MESSAGES = 512
CHARACTERS = 1024 * 1024
# Seconds that a client has for answering a close frame.
CLOSE_WITHIN = 2.0
# Seconds for everything that is still queued before a close, and the close.
GONE_WITHIN = 10.0


class Outbox:
    """Sends texts in order from its own task, so that nobody who tells a client something waits for that client."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._request = request
        self._queue: deque[tuple[str, bool]] = deque()
        self._messages = 0
        self._characters = 0
        self._wake = asyncio.Event()
        self._ping_queued = False
        self._close_with: int | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def closing(self) -> bool:
        """Nothing that is put in any more goes out."""
        return self._closed or self._close_with is not None

    def put(self, text: str) -> None:
        """Queues `text`; a client that is too far behind is cut off instead."""
        if self.closing:
            return
        self._queue.append((text, True))
        self._messages += 1
        self._characters += len(text)
        if self._messages > MESSAGES or self._characters > CHARACTERS:
            self.cut()
            return
        self._wake.set()

    def put_kept(self, texts: Sequence[str]) -> None:
        """Queues texts that are kept elsewhere anyway, within bounds of their own, and so cost no memory here."""
        if not self.closing:
            self._queue.extend((text, False) for text in texts)
            self._wake.set()

    def close(self, code: int) -> None:
        """Closes with `code` after everything that is queued."""
        if not self.closing:
            self._close_with = code
            # A reader that has stopped reading would never see the close; nobody waits for it for long.
            self._deadline = asyncio.get_running_loop().call_later(GONE_WITHIN, self.cut)
            self._wake.set()

    def cut(self) -> None:
        """Drops everything and the connection: a client that reads again comes back and gets whole lists."""
        self._closed = True
        self._queue.clear()
        self._wake.set()
        if self._request.transport is not None:
            self._request.transport.abort()

    def ping(self) -> None:
        """Queues a websocket ping (RFC 6455, 5.5.2), which every browser answers below the page's script."""
        if not self.closing and not self._ping_queued:
            self._ping_queued = True
            self._wake.set()

    async def finish(self) -> None:
        """Waits until the task has ended; for the handler, when its socket has gone."""
        if self._close_with is not None:
            # A close is under way in the task: the client must see its code, or it would come back.
            await asyncio.wait({self._task}, timeout=CLOSE_WITHIN)
        if self._deadline is not None:
            self._deadline.cancel()
        self._closed = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        try:
            while not self._closed:
                while self._queue and not self._closed:
                    text, counted = self._queue.popleft()
                    if counted:
                        self._messages -= 1
                        self._characters -= len(text)
                    await self._socket.send_str(text)
                if self._ping_queued and not self._closed:
                    self._ping_queued = False
                    await self._socket.ping()
                    continue
                if self._close_with is not None and not self._closed:
                    self._closed = True
                    await self._socket.close(code=self._close_with)
                    return
                self._wake.clear()
                await self._wake.wait()
        except (ConnectionError, RuntimeError):
            # The socket went away between two messages; its handler sees that too and cleans up.
            self._closed = True
