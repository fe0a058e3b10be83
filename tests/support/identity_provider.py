"""A real identity provider: the certified npm `oidc-provider`, at a version of ours, in a process of its own."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import playwright
from joserfc.jwk import RSAKey

from ...bench.process import Process
from .server import free_port
from .wait import wait_until

VERSION = "9.13.3"
ROOT = Path(__file__).parents[2]
# The one that Playwright brings along: distributions' own may be too old for the provider.
NODE = Path(playwright.__file__).parent / "driver" / "node"
SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
CACHE = ROOT / "build" / "oidc-provider" / VERSION
ANNA = {"sub": "anna", "name": "Anna Berg", "number": "19700101-2384"}
BO = {"sub": "bo", "name": "Bo Ek", "number": "19800101-2384"}


async def _install() -> Path:
    """The folder that has the package; installed by npm the first time, by one of those who ask at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not (CACHE / "installed").exists():
            child = await asyncio.create_subprocess_exec(
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                f"--prefix={CACHE}",
                f"oidc-provider@{VERSION}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await child.communicate()
            assert child.returncode == 0, f"npm install: {output.decode()}"
            (CACHE / "installed").touch()
    return CACHE


class IdentityProvider:
    """`async with IdentityProvider(folder, redirect_uris) as idp`; stopped and started again it has other keys.

    Attributes:
        issuer: its address.
    """

    def __init__(self, folder: Path, redirect_uris: Sequence[str], port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._redirect_uris = list(redirect_uris)
        self._port = port or free_port()
        self._process: Process | None = None
        self._keys = 0
        self.issuer = f"http://127.0.0.1:{self._port}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """What a tenant's table says of it."""
        return {
            "label": "Test eID",
            "issuer": self.issuer,
            "client_id": "patients",
            "client_secret": "secret of patients",
            "scopes": ["openid", "profile"],
            "levels": {"urn:test:loa2": "loa2", "urn:test:loa3": "loa3"},
            "subject_claim": "number",
            **more,
        }

    def staff_settings(self) -> dict[str, Any]:
        more = {"subject_claim": "sub", "staff": True, "care_unit_claim": "units", "label": "Test card"}
        return self.settings(client_id="staff", client_secret="secret of staff", **more)

    async def start(self) -> None:
        self._keys += 1
        key = RSAKey.generate_key(2048, {"kid": f"key-{self._keys}", "use": "sig", "alg": "RS256"}, private=True)
        given = {
            "port": self._port,
            "redirect_uris": self._redirect_uris,
            "jwks": {"keys": [key.as_dict(private=True)]},
            "modules": str(await _install()),
        }
        self._process = process = await Process.start(
            [str(NODE), str(SCRIPT), json.dumps(given)], log=self._folder / f"idp-{self._keys}.log"
        )
        await wait_until(
            lambda: not process.running or "listening" in process.output(), deadline=60, what="the identity provider"
        )
        assert process.running, process.output()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.kill()
            self._process = None

    async def next(self, person: Mapping[str, Any] = ANNA, acr: str = "urn:test:loa3", **more: Any) -> None:
        """Who logs in from now on, and how; `cancelled` or `tampered` with."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.issuer}/next", json={**person, "acr": acr, **more}) as answer,
        ):
            assert answer.status == 200

    async def __aenter__(self) -> Self:
        await self.start()
        await self.next()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
