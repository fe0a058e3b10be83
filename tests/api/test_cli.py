"""The command line as an operator uses it: real processes, real files."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import sys
from pathlib import Path

import aiohttp
from vardrum.tests.support.server import VARDRUM, Server


async def vardrum(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one command."""
    environment = {"PATH": str(Path(sys.executable).parent), **(env or {})}
    child = await asyncio.create_subprocess_exec(
        VARDRUM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    output, errors = await child.communicate()
    assert child.returncode is not None
    assert "Traceback" not in errors.decode()
    return child.returncode, output.decode(), errors.decode()


async def test_keys_and_tenants_while_the_server_runs(server: Server) -> None:
    data = ("--data", str(server.data))
    assert await vardrum("tenants", "create", "north", "--name", "Region North", *data) == (0, "north\n", "")
    status, _, errors = await vardrum("tenants", "create", "north", *data)
    assert (status, errors) == (1, "TENANT: there is a tenant north already\n")
    assert (await vardrum("tenants", "create", "Nörth", *data))[0] == 1
    assert "north\tRegion North" in (await vardrum("tenants", "list", *data))[1]
    made = await vardrum("keys", "create", "--tenant", "north", "--name", "portal", "--scope", "rooms:read", *data)
    key_id, secret = made[1].split()
    assert re.fullmatch(r"vrk_[\w-]{43}", secret)
    listed = (await vardrum("keys", "list", *data))[1]
    assert key_id in listed
    assert secret not in listed
    missing = await vardrum("keys", "create", "--tenant", "south", "--name", "x", "--scope", "rooms:read", *data)
    assert missing == (1, "", "--tenant: there is no tenant south\n")
    headers = {"Authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(headers=headers) as client:
        async with client.get(f"{server.http}/v1/rooms") as answer:
            assert answer.status == 200
        assert (await vardrum("keys", "revoke", key_id, *data))[0] == 0
        async with client.get(f"{server.http}/v1/rooms") as answer:
            assert answer.status == 401
    assert "revoked" in (await vardrum("keys", "list", "--tenant", "north", *data))[1]
    assert (await vardrum("keys", "revoke", "key_x", *data))[2] == "KEY: there is no key key_x\n"


# A shard's thread as if it had panicked: nothing that anyone may say makes one.
DEAD_SHARD = """
from vardrum.control import cli
from vardrum.sfu.engine import Engine

Engine.alive = False
cli.main()
"""


async def test_a_server_whose_media_has_failed_ends_with_an_error(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DEAD_SHARD, "serve", "--data", str(tmp_path), "--http", "127.0.0.1:0"),
        *("--media-ip", "127.0.0.1", "--media-port", "0"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "VARDRUM_METRICS__LISTEN": "127.0.0.1:0", "VARDRUM_MEDIA__SHARDS": "1"},
    )
    try:
        _, errors = await asyncio.wait_for(child.communicate(), 30)
    except TimeoutError:
        child.kill()
        raise
    assert child.returncode == 1
    text = errors.decode()
    assert text.count("a shard's thread has failed") == 1
    assert text.splitlines()[-1].startswith("media: a thread has failed")
    assert "Traceback" not in text


async def test_config_check_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    file = tmp_path / "production.toml"
    file.write_text('[media]\npublic_ip = "10.0.0.300"\n')
    status, _, errors = await vardrum("config", "check", "--config", str(file))
    assert status == 1
    assert errors.startswith(f"{file}: media.public_ip: '10.0.0.300' is not an IP address (expected ")
    # `serve` says the same, and doesn't start.
    assert await vardrum("serve", "--config", str(file)) == (1, "", errors)
    status, output, _ = await vardrum("config", "check", env={"VARDRUM_HTTP__PORT": "81"})
    assert (status, json.loads(output)["http"]["port"]) == (0, 81)
    assert (await vardrum("config", "check", env={"VARDRUM_HTTP__PROT": "81"}))[0] == 1
    sms = {"VARDRUM_SMS__URL": "https://sms.region.example/send", "VARDRUM_SMS__HEADERS_FILE": "none"}
    status, _, errors = await vardrum("config", "check", env=sms)
    assert (status, errors) == (1, "sms.headers_file: none can't be read: No such file or directory\n")


async def test_what_cannot_be_bound_or_written_is_said(server: Server, tmp_path: Path) -> None:
    port = str(server.ready["http"]).rpartition(":")[2]
    taken = await vardrum("serve", "--data", str(tmp_path / "d"), "--http", f"127.0.0.1:{port}")
    assert taken[0] == 1
    assert taken[2].startswith(f"http.host and http.port: can't listen on 127.0.0.1 port {port}: ")
    twice = await vardrum("serve", "--data", str(server.data), "--http", "127.0.0.1:0")
    assert twice == (1, "", f"data: {server.data} is in use by another server\n")
    assert (await vardrum("serve", "--http", "8080"))[2].startswith("command line: --http: '8080' is not an address")
    media = await vardrum(
        "serve", "--data", str(tmp_path / "d"), "--http", "127.0.0.1:0", "--media-ip", "192.0.2.77",
        env={"VARDRUM_METRICS__LISTEN": "127.0.0.1:0"},
    )  # fmt: skip
    assert media[0] == 1
    assert media[2].startswith("media.ip and media.port: can't use 192.0.2.77 port 40000: ")


async def test_a_database_that_is_none_or_of_another_time_is_said(tmp_path: Path) -> None:
    (tmp_path / "vardrum.db").write_bytes(b"not a database " * 100)
    for command in (("serve", "--http", "127.0.0.1:0"), ("tenants", "list")):
        status, _, errors = await vardrum(*command, "--data", str(tmp_path))
        assert status == 1
        assert errors == f"data: {tmp_path}/vardrum.db can't be used: file is not a database\n"
    newer = tmp_path / "newer"
    assert (await vardrum("tenants", "list", "--data", str(newer)))[0] == 0
    with sqlite3.connect(newer / "vardrum.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    status, _, errors = await vardrum("serve", "--http", "127.0.0.1:0", "--data", str(newer))
    assert (status, errors) == (1, f"data: {newer}/vardrum.db was made by a newer version of Vardrum\n")


async def test_keys_of_the_installation_are_changed_by_hand(server: Server, tmp_path: Path) -> None:
    file = server.data / "keyring.json"
    assert file.stat().st_mode & 0o777 == 0o600
    before = json.loads(file.read_text())
    for tenant in ("north", "south"):
        await vardrum("tenants", "create", tenant, "--data", str(server.data))
    assert await vardrum("keyring", "rotate", "--data", str(server.data)) == (0, "k2\n", "")
    with sqlite3.connect(server.data / "vardrum.db") as database:
        entries = database.execute(
            "SELECT tenant, known, detail FROM audit_entries WHERE action = 'keyring.rotated' ORDER BY tenant"
        )
        assert entries.fetchall() == [(one, "operator", '{"key":"k2"}') for one in ("north", "south")]
    after = json.loads(file.read_text())
    assert (before["current"], after["current"]) == ("k1", "k2")
    assert after["keys"]["k1"] == before["keys"]["k1"] != after["keys"]["k2"]
    named = {"VARDRUM_KEYRING": str(tmp_path / "none.json")}
    status, _, errors = await vardrum("serve", "--data", str(tmp_path), "--http", "127.0.0.1:0", env=named)
    assert (status, errors) == (1, f"keyring: {tmp_path / 'none.json'}: there is no such file\n")


async def test_the_demo_has_a_room_with_three_links_and_nobody_needs_a_document(tmp_path: Path) -> None:
    async with Server(tmp_path / "demo", command="demo") as demo:
        ready = demo.ready
        assert {"http", "api_key", "room", "staff_url", "patient_url", "relative_url"} <= set(ready)
        assert ready["staff_url"].startswith("http://localhost:")
        headers = {"Authorization": f"Bearer {ready['api_key']}"}
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{ready['http']}/v1/rooms/{ready['room']}", headers=headers) as answer:
                room = await answer.json()
            assert room["state"] == "open"
            assert [(one["role"], one["host"]) for one in room["participants"]] == [
                ("caregiver", True),
                ("patient", False),
                ("relative", False),
            ]
            assert set(room["identity_policy"].values()) == {"none"}
            said = []
            for name in ("staff_url", "patient_url"):
                secret = {"invite": ready[name].partition("#")[2]}
                async with client.post(f"{ready['http']}/v1/sessions", json=secret) as answer:
                    session = await answer.json()
                async with client.ws_connect(f"{ready['http']}/v1/ws") as socket:
                    await socket.send_json({"type": "hello", "token": session["token"], "device": {}})
                    said.append([(await socket.receive_json(timeout=10))["type"] for _ in range(2)])
            # The host came in by link alone; the patient waits.
            assert said == [["welcome", "admitted"], ["welcome", "waiting"]]
        printed = demo.process.output()
        assert ready["staff_url"] in printed
        assert ready["patient_url"] in printed
        assert ready["relative_url"] in printed


async def test_a_stopped_server_stops_at_once_with_websockets_open(server: Server) -> None:
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{server.http}/v1/ws"):
        assert await asyncio.wait_for(server.stop(), 10) == 0
