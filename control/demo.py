"""`vardrum demo`: one room with a host, a patient and a relative, on throw-away data."""

from __future__ import annotations

import io
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segno

from .api.caller import Scope
from .app import App
from .store import keys
from .visits.bookings import NewRoom
from .visits.identity import Demand
from .visits.invitations import NewParticipant
from .visits.values import Role

TENANT = "demo"
PORT = 8080


def overrides(given: dict[str, Any], lan: str = "", files: tuple[Path, Path] | None = None) -> dict[str, Any]:
    """What the demo sets, beside what the command line says: loopback, and ports that are free.

    Args:
        lan: this machine's address in the local network, to be there instead.
        files: certificate and key for that.
    """
    http = {"host": lan or "127.0.0.1", **given.get("http", {})}
    http.setdefault("port", PORT if _free(http["host"], PORT) else 0)
    if http["port"] == 0:
        http["port"] = _any_free(http["host"])
    # Also where a config file names a server's.
    http["certificate"], http["key"] = map(str, files or ("", ""))
    host = lan or ("localhost" if http["host"] in ("127.0.0.1", "::1") else http["host"])
    shown = f"[{host}]" if ":" in host else host
    return {
        **given,
        # Also where a config file names a server's: what the demo writes is thrown away.
        "database_url": "",
        "database_url_file": "",
        "http": http,
        "media": {"port": 0, **({"ip": lan} if lan else {}), **given.get("media", {})},
        "metrics": {"listen": "127.0.0.1:0"},
        "hosts": {"by_link": True},
        # Browsers give camera and microphone to localhost, as to https.
        "public_url": f"{'https' if files else 'http'}://{shown}:{http['port']}",
    }


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return False
    return True


def _any_free(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        one.bind((host, 0))
        port: int = one.getsockname()[1]
        return port


async def prepare(app: App) -> dict[str, Any]:
    """Makes the tenant, a key and the room; what `--ready-file` adds."""
    visits = app.visits
    now = visits.clock()
    await keys.create_tenant(app.store, TENANT, "Demo", now)
    _, key = await keys.create_key(app.store, TENANT, "demo", [str(one) for one in Scope], now, os.urandom)
    new = NewRoom(
        care_unit={"name": "Ekbackens vårdcentral"},
        starts_at=now,
        ends_at=now + timedelta(hours=12),
        title="Återbesök",
        identity_policy={str(role): str(Demand.NONE) for role in Role},
    )
    people = [
        NewParticipant(role=Role.CAREGIVER, display_name="Sara Lind, läkare", host=True),
        NewParticipant(role=Role.PATIENT, display_name="Anna Berg"),
        NewParticipant(role=Role.RELATIVE, display_name="Erik Berg"),
    ]
    room, invited = await visits.create_room(TENANT, new, people)
    staff, patient, relative = (one.join_url for one in invited)
    return {"api_key": key, "room": room.id, "staff_url": staff, "patient_url": patient, "relative_url": relative}


def text(links: dict[str, Any]) -> str:
    """What is printed."""
    host = urlsplit(links["staff_url"]).netloc
    return "\n".join(
        (
            "",
            f"Vardrum demo on {host}; everything is forgotten when it stops (Ctrl+C).",
            "Open each link in a window of its own:",
            "",
            f"  staff     {links['staff_url']}",
            f"  patient   {links['patient_url']}",
            f"  relative  {links['relative_url']}",
            "",
        )
    )


def lan_text(links: dict[str, Any], media_ports: list[int]) -> str:
    """What is printed below the links where a phone is to come."""
    url = urlsplit(links["patient_url"])
    ports = ", ".join(map(str, media_ports))
    return "\n".join(
        (
            code(links["patient_url"]),
            "The patient's link, for the camera of a phone in the same network.",
            "Nobody has signed the certificate: the browser warns of it, once; go on all the same.",
            f"If nothing comes, let the phone in: TCP port {url.port}, and UDP and TCP port {ports}.",
            "",
        )
    )


def code(link: str) -> str:
    """A link as a QR code (ISO/IEC 18004) for a terminal."""
    drawn = io.StringIO()
    segno.make_qr(link, error="l").terminal(drawn, compact=True)
    return drawn.getvalue()
