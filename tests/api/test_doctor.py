"""`vardrum doctor` as an operator runs it: beside a running server, and where none can."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.support.certificates import HOST, Certificates
from vardrum.tests.support.server import Server


async def test_a_running_server_is_found_to_be_itself(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    certificates.use(certificates.make())
    async with Server(tmp_path / "server", env=certificates.env) as server:
        where = ("--data", str(server.data), "--http", f"{HOST}:{server.http_port}", "--media-ip", HOST)
        media = ("--media-port", str(server.media_port))
        metrics = server.ready["metrics"].removeprefix("http://").removesuffix("/metrics")
        env = {
            "VARDRUM_MEDIA__SHARDS": "1",
            "VARDRUM_METRICS__LISTEN": metrics,
            "VARDRUM_PUBLIC_URL": server.http,
            **certificates.env,
        }
        status, output, errors = await vardrum("doctor", "--json", *where, *media, env=env)
        found = json.loads(output)
        by_name = {one["name"]: one for one in found["findings"]}
        assert (status, errors, found["wrong"]) == (0, "", 0), output
        for name in ("http", "media ports", "metrics"):
            assert "held by the running server" in by_name[name]["what"]
        assert by_name["database"]["state"] == by_name["keyring"]["state"] == "ok"
        assert by_name["certificate"]["what"].endswith("are good for 89 days")
        # And it goes on, undisturbed.
        assert server.process.running


async def test_what_is_wrong_ends_in_status_1_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        arguments = ("--data", str(tmp_path), "--http", f"{HOST}:{port}", "--media-port", "0")
        status, output, errors = await vardrum("doctor", *arguments, env={"VARDRUM_METRICS__LISTEN": ""})
    assert (status, errors) == (1, "")
    lines = output.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("wrong ")]
    assert lines[number].split(maxsplit=2)[2] == f"{HOST} port {port} is held by another program"
    assert lines[number + 1].strip().startswith("-> ss -ltnp")
    assert lines[-1].startswith("1 wrong, ")
