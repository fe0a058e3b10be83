"""What has started this process: systemd hears when it serves (sd_notify(3)), and what waits for that goes on then.

No watchdog: where the event loop stands still, people who are in a visit go on, and a restart would end their visits.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


def ready(environment: Mapping[str, str] = os.environ) -> None:
    """Says that connections are accepted; does nothing where nobody waits for that."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
        one.sendto(b"READY=1", address)
