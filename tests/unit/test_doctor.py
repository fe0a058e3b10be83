"""Each check under the conditions that it is there for: real sockets, files, folders and certificates."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from cryptography import x509
from vardrum.control import settings as configuration
from vardrum.control.cli import main
from vardrum.control.doctor import machine, network, storage, turn
from vardrum.control.doctor.certificate import certificate, names
from vardrum.control.doctor.examine import as_text, examine, unreadable
from vardrum.control.doctor.finding import Finding, State
from vardrum.control.settings import Settings
from vardrum.control.store import examination
from vardrum.control.store.store import Store
from vardrum.control.tls import load
from vardrum.tests.support.certificates import HOST, Certificates
from vardrum.tests.support.server import free_port

ENGINE = Path(__file__).parents[2] / "sfu" / "engine" / "src" / "io" / "socket.rs"
NOW = datetime.now(UTC)
# Folders in which nobody makes a file, not even root.
NOBODYS = Path("/proc/self")
# Of Debian's base-passwd.
NOBODY = 65534


def now() -> datetime:
    return datetime.now(UTC)


def settings(tmp_path: Path, **said: Any) -> Settings:
    """Of a machine on which nothing runs."""
    given = {
        "data": str(tmp_path / "data"),
        "http": {"host": HOST, "port": free_port(), **said.pop("http", {})},
        "media": {"ip": HOST, "port": free_port(), "shards": 1, **said.pop("media", {})},
        "metrics": {"listen": f"{HOST}:{free_port()}"},
        **said,
    }
    return configuration.load(overrides=given, environment={})


@contextmanager
def taken(port: int, kind: socket.SocketKind) -> Iterator[None]:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((HOST, port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        yield


def said(finding: Finding) -> tuple[State, str]:
    """How it is, and both sentences; whatever isn't well has a remedy."""
    assert (finding.state is State.OK) == (finding.remedy == ""), finding
    assert "\n" not in finding.what + finding.remedy
    return finding.state, f"{finding.what} -> {finding.remedy}"


async def test_nothing_is_wrong_before_the_first_start(tmp_path: Path) -> None:
    found = await examine(settings(tmp_path), now)
    assert [one for one in found if one.state is State.WRONG] == []
    assert len({one.name for one in found}) == len(found)
    assert not (tmp_path / "data").exists()


async def test_a_port_that_another_program_holds_is_wrong(tmp_path: Path) -> None:
    here = settings(tmp_path)
    with taken(here.http.port, socket.SOCK_STREAM):
        state, sentence = said(await network.http(here, serving=False))
        assert state is State.WRONG
        assert sentence.startswith(f"{HOST} port {here.http.port} is held by another program -> ss -ltnp 'sport = :")
    for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
        assert network.media(here, serving=False).state is State.OK
        with taken(here.media.port, kind):
            state, sentence = said(network.media(here, serving=False))
            assert state is State.WRONG
            assert f"port {here.media.port} ({name}) is held by another program -> ss -l" in sentence
    port = int(here.metrics.listen.rpartition(":")[2])
    with taken(port, socket.SOCK_STREAM):
        assert network.metrics(here, serving=False).state is State.WRONG


async def test_a_port_is_not_ours_because_a_server_runs_somewhere(tmp_path: Path) -> None:
    here = settings(tmp_path)
    with taken(here.http.port, socket.SOCK_STREAM):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, "ANSWERS_WITHIN", 0.2)
            state, sentence = said(await network.http(here, serving=True))
        assert state is State.WRONG
        assert "says nothing that a Vardrum server would" in sentence
    # Or else it has other ports than these.
    assert said(await network.http(here, serving=True))[0] is State.WARNING
    assert said(network.media(here, serving=True))[0] is State.WARNING


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may bind the port, and become somebody who may not")
async def test_a_running_server_is_found_by_who_may_not_bind_its_port(tmp_path: Path) -> None:
    async def ready(_: web.BaseRequest) -> web.Response:
        return web.json_response({"status": "ready"})

    with socket.socket() as listener:
        for port in range(1023, 600, -1):
            with suppress(OSError):
                listener.bind((HOST, port))
                break
        here = settings(tmp_path, http={"port": port})
        runner = web.ServerRunner(web.Server(ready))
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            os.seteuid(NOBODY)
            found, stopped = await network.http(here, True), await network.http(here, False)
        finally:
            os.seteuid(0)
            await runner.cleanup()
    assert said(found) == (
        State.OK,
        f"{HOST} port {port} is held by the running server, which says that it is ready -> ",
    )
    assert stopped.state is not State.OK


def test_an_address_that_is_not_this_machines_is_wrong(tmp_path: Path) -> None:
    here = settings(tmp_path, media={"ip": "192.0.2.77"})
    state, sentence = said(network.media(here, serving=False))
    assert state is State.WRONG
    assert "this machine has no such address -> ip -br address" in sentence
    assert "media.public_ip" in sentence


@pytest.mark.parametrize(
    ("url", "more", "addresses", "state", "sentence"),
    [
        ("", {}, [], State.WARNING, "it is empty"),
        ("http://video.example", {}, ["192.0.2.1"], State.WRONG, "isn't https: browsers give no camera"),
        ("http://localhost:8080", {}, ["127.0.0.1"], State.OK, "leads to 127.0.0.1"),
        ("https://video.example", {"trusted_proxies": "127.0.0.1"}, [], State.WRONG, "video.example isn't found"),
        ("https://video.example", {}, ["192.0.2.1"], State.WARNING, "by a proxy that isn't trusted"),
        ("https://video.example", {"trusted_proxies": "127.0.0.1"}, ["192.0.2.1"], State.OK, "leads to 192.0.2.1"),
        ("https://video.example", {"certificate": "c", "key": "k"}, ["192.0.2.1"], State.OK, "leads to 192.0.2.1"),
        ("http://127.0.0.1", {"certificate": "c", "key": "k"}, ["127.0.0.1"], State.WRONG, "the server speaks TLS"),
    ],
)  # fmt: skip
def test_links_must_lead_somewhere_safe(
    tmp_path: Path, url: str, more: dict[str, str], addresses: list[str], state: State, sentence: str
) -> None:
    found = said(network.public_url(settings(tmp_path, public_url=url, http=more), addresses))
    assert found[0] is state
    assert sentence in found[1]


@pytest.mark.parametrize(
    ("ip", "public_ip", "url", "addresses", "state"),
    [
        ("127.0.0.1", "", "", [], State.OK),
        ("127.0.0.1", "", "http://localhost", ["::1", "127.0.0.1"], State.OK),
        ("127.0.0.1", "", "https://video.example", ["8.8.8.8"], State.WRONG),
        ("127.0.0.1", "", "https://video.example", [], State.WRONG),  # it isn't in the DNS yet
        ("10.0.0.5", "", "https://video.example", ["8.8.8.8"], State.WARNING),
        ("10.0.0.5", "8.8.8.8", "https://video.example", ["8.8.8.8"], State.OK),
        ("0.0.0.0", "10.0.0.5", "https://video.example", ["10.0.0.5"], State.OK),
    ],
)
def test_phones_must_be_told_an_address_that_they_reach(
    tmp_path: Path, ip: str, public_ip: str, url: str, addresses: list[str], state: State
) -> None:
    here = settings(tmp_path, public_url=url, media={"ip": ip, "public_ip": public_ip})
    assert said(network.public_address(here, addresses))[0] is state


@pytest.mark.parametrize(
    ("days", "name", "chain", "mode", "state", "sentence"),
    [
        (60.5, "video.example", True, 0o600, State.OK, "good for 60 days"),
        (60.5, "*.example", True, 0o640, State.OK, "good for 60 days"),
        (60.5, "other.example", True, 0o600, State.WRONG, "isn't for video.example"),
        (-1, "video.example", True, 0o600, State.WRONG, "expired on"),
        (450, "video.example", True, 0o600, State.WRONG, "is good from"),
        (5.5, "video.example", True, 0o600, State.WARNING, "in 5 days"),
        (60.5, "video.example", False, 0o600, State.WARNING, "own certificate alone"),
        (60.5, "video.example", True, 0o644, State.WARNING, "can be read by everybody"),
    ],
)
def test_a_certificate_must_fit_last_and_be_complete(
    tmp_path: Path, days: float, name: str, chain: bool, mode: int, state: State, sentence: str
) -> None:
    made = Certificates(tmp_path / "tls").make(name, days=days)
    file, key = made / "fullchain.pem", made / "privkey.pem"
    if not chain:
        file.write_text(file.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    key.chmod(mode)
    found = said(certificate((file, key), "https://video.example", NOW))
    assert found[0] is state, found
    assert sentence in found[1]


def test_a_pair_that_cannot_be_used_is_wrong_and_none_is_the_proxys(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    one, other = certificates.make(), certificates.make()
    found = said(certificate((one / "fullchain.pem", other / "privkey.pem"), "", NOW))
    assert found[0] is State.WRONG
    assert "doesn't belong to the certificate" in found[1]
    assert said(certificate(None, "https://video.example", NOW))[0] is State.OK


def test_a_certificate_names_addresses_and_one_label_for_a_star(tmp_path: Path) -> None:
    leaf = leaf_for(Certificates(tmp_path / "tls"), "*.region.example", "192.0.2.1")
    assert names(leaf, "video.region.example")
    assert names(leaf, "VIDEO.region.example".lower())
    assert names(leaf, "192.0.2.1")
    for host in ("region.example", "a.video.region.example", "192.0.2.2", "region.example.", "x" * 300):
        assert not names(leaf, host)


def leaf_for(certificates: Certificates, *hosts: str) -> x509.Certificate:
    made = certificates.make(*hosts)
    return load(made / "fullchain.pem", made / "privkey.pem").leaf


def test_a_folder_that_cannot_be_written_to_is_wrong(tmp_path: Path) -> None:
    assert said(storage.folder(NOBODYS))[0] is State.WRONG
    assert said(storage.folder(NOBODYS / "vardrum"))[0] is State.WRONG
    file = tmp_path / "file"
    file.touch()
    assert said(storage.folder(file))[0] is State.WRONG
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    assert said(storage.folder(folder)) == (
        State.WARNING,
        f"{folder} is open to others on this machine, or not to {storage.name_of(os.geteuid())} -> chmod 700 {folder}",
    )  # fmt: skip
    folder.chmod(0o700)
    assert said(storage.folder(folder))[0] is State.OK
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_what_root_has_left_in_the_servers_folder_is_wrong_and_root_itself_leaves_nothing(tmp_path: Path) -> None:
    here = settings(tmp_path)
    here.data.mkdir(mode=0o700)
    async with Store(here.data / "vardrum.db"):
        pass
    os.chown(here.data, NOBODY, NOBODY)
    state, sentence = said(storage.folder(here.data))
    assert (state, sentence) == (
        State.WRONG, f"{here.data}/vardrum.db isn't nobody's, whose the folder is -> chown -R nobody {here.data}",
    )  # fmt: skip
    os.chown(here.data / "vardrum.db", NOBODY, NOBODY)
    (here.data / "lost+found").mkdir(mode=0o700)  # as on a disk of its own
    async with Store(here.data / "vardrum.db"):
        (found,) = await storage.database(here, now)
    assert found.state is State.OK
    assert said(storage.folder(here.data)) == (State.OK, f"{here.data} can be written to, by nobody alone -> ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_key_that_the_servers_user_cannot_read_is_wrong(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    certificates.use(certificates.make())
    files = certificates.certificate, certificates.key
    assert certificate(files, "", NOW, user=0).state is State.OK
    state, sentence = said(certificate(files, "", NOW, user=NOBODY))
    assert state is State.WRONG
    assert "can't be read by nobody" in sentence
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own is closed to others
        os.chmod(folder, 0o755)
        key = Path(folder) / "key"
        key.touch()
        for owner, group, mode, may in ((0, 0, 0o600, False), (NOBODY, 0, 0o400, True)):
            os.chown(key, owner, group)
            key.chmod(mode)
            assert storage.may_read(NOBODY, key) == may
        os.chown(key, 0, pwd.getpwuid(NOBODY).pw_gid)
        key.chmod(0o640)
        assert storage.may_read(NOBODY, key)
        os.chmod(folder, 0o700)
        assert not storage.may_read(NOBODY, key)


def test_a_disk_that_is_full_soon_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.space(tmp_path / "not" / "yet").what.endswith(f"GB are free for {tmp_path}/not/yet")
    # As if the disk were as much larger.
    monkeypatch.setattr(storage, "LITTLE", 1 << 62)
    assert said(storage.space(tmp_path))[0] is State.WARNING
    monkeypatch.setattr(storage, "TOO_LITTLE", 1 << 62)
    assert said(storage.space(tmp_path))[0] is State.WRONG


@pytest.mark.both_databases
async def test_a_database_is_asked_and_not_changed(tmp_path: Path, database: str) -> None:
    here = settings(tmp_path, database_url=database)
    here.data.mkdir()
    async with Store(here.database):
        # Beside a server that runs.
        found = await storage.database(here, now)
    assert [said(one)[0] for one in found] == [State.OK] * (2 if database else 1), found
    assert "has the newest schema" in found[0].what


async def test_a_database_of_another_time_or_of_nothing_is_said(tmp_path: Path) -> None:
    here = settings(tmp_path)
    here.data.mkdir()
    file = here.data / "vardrum.db"
    async with Store(file):
        pass
    newest = (await examination.examine(file, now)).newest
    for version, state, sentence in (
        ("9999", State.WRONG, "was made by a newer version"),
        (newest, State.OK, "newest schema"),
        ("0001", State.WARNING, f"has the schema 0001; the next start brings it to {newest}"),
    ):
        with sqlite3.connect(file) as db:
            db.execute("UPDATE alembic_version SET version_num = ?", (version,))
        (found,) = await storage.database(here, now)
        assert said(found)[0] is state, found
        assert sentence in found.what
    file.write_bytes(b"not a database " * 100)
    (found,) = await storage.database(here, now)
    assert said(found)[0] is State.WRONG
    assert "file is not a database" in found.what


async def test_a_database_that_nobody_answers_for_is_wrong_and_its_password_is_not_said(tmp_path: Path) -> None:
    here = settings(tmp_path, database_url=f"postgresql://u:geheim@{HOST}:{free_port()}/vardrum")
    (found,) = await storage.database(here, now)
    assert said(found)[0] is State.WRONG
    assert "geheim" not in str(found)


def test_clocks_that_differ_are_said() -> None:
    states = [said(storage._apart(seconds))[0] for seconds in (0.2, -3, 90)]
    assert states == [State.OK, State.WARNING, State.WRONG]


def test_a_keyring_that_is_gone_from_beside_its_database_is_wrong(tmp_path: Path) -> None:
    here = settings(tmp_path)
    assert said(storage.keyring(here))[0] is State.OK
    here.data.mkdir()
    (here.data / "vardrum.db").touch()
    state, sentence = said(storage.keyring(here))
    assert state is State.WRONG
    assert "from the backup" in sentence
    assert said(storage.keyring(settings(tmp_path / "b", keyring=str(tmp_path / "none"))))[0] is State.WRONG
    assert said(storage.audit(settings(tmp_path, audit={"export": str(NOBODYS)})))[0] is State.WRONG


async def test_why_no_turn_server_is_reached_is_said_in_words(tmp_path: Path) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    (tmp_path / "secret").write_text("s" * 32)
    async with await asyncio.start_server(talk, HOST, 0) as website:
        port = website.sockets[0].getsockname()[1]
        urls = [f"turns:{HOST}:{port}", f"turn:{HOST}:{free_port()}?transport=tcp"]
        given = {"urls": urls, "secret_file": str(tmp_path / "secret")}
        found = [one.what for one in await turn.turn(settings(tmp_path, turn=given), now)]
    assert found == [f"{HOST} port {port} speaks no TLS (wrong version number)", "Connection refused (TCP)"]
    for error, what in (
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name turn.invalid isn't found"),
        # asyncio's, where a name has several addresses. It has no number, and 0 would be "Success".
        (OSError("Multiple exceptions: Connect call failed, Connect call failed"), "no connection comes about (TCP)"),
    ):
        assert turn.unreached("TURN", ("turn.invalid", 3478), "tcp", error).what == what


def test_what_the_kernel_gives_is_held_against_what_the_engine_asks_for(tmp_path: Path) -> None:
    found = re.search(r"const SOCKET_BUFFER: c_int = (\d+) << (\d+);", ENGINE.read_text())
    assert found
    assert int(found[1]) << int(found[2]) == machine.SOCKET_BUFFER
    assert said(machine.buffers(tmp_path))[0] is State.OK  # it doesn't say
    (tmp_path / "rmem_max").write_text("212992\n")
    (tmp_path / "wmem_max").write_text("8388608\n")
    state, sentence = said(machine.buffers(tmp_path))
    assert state is State.WARNING
    assert "-> sysctl -w net.core.rmem_max=8388608 (" in sentence
    (tmp_path / "rmem_max").write_text("16777216\n")
    assert said(machine.buffers(tmp_path))[0] is State.OK


def test_what_the_machine_has_is_said(tmp_path: Path) -> None:
    assert [said(machine.descriptors(limit))[0] for limit in (256, 1024, 65536)] == [
        State.WRONG, State.WARNING, State.OK,
    ]  # fmt: skip
    assert [said(machine.cores(*one))[0] for one in ((4, 2), (1, 1), (4, 4))] == [
        State.WARNING, State.WARNING, State.OK,
    ]  # fmt: skip
    source = tmp_path / "source"
    assert said(machine.clock_source(source))[0] is State.OK
    for name, state in (("hpet\n", State.WARNING), ("kvm-clock\n", State.OK)):
        source.write_text(name)
        assert said(machine.clock_source(source))[0] is state
    # Whichever it is here: the kernel was asked, and answered.
    assert said(machine.clock())[0] in (State.OK, State.WARNING)


def test_settings_that_do_not_fit_are_the_one_thing_said(tmp_path: Path) -> None:
    file = tmp_path / "vardrum.toml"
    file.write_text('[media]\npublic_ip = "10.0.0.300"\n')
    made = CliRunner().invoke(main, ["doctor", "--json", "--config", str(file)])
    found = json.loads(made.output)
    assert (made.exit_code, found["wrong"], len(found["findings"])) == (1, 1, 1)
    assert found["findings"][0]["what"].startswith(f"{file}: media.public_ip: '10.0.0.300' is not an IP address")


def test_what_is_printed_has_a_line_for_each_thing_and_its_remedy_below() -> None:
    text = as_text(unreadable("a.toml: x: is wrong\na.toml: y: is wrong"))
    assert text.splitlines()[0] == "wrong    settings        a.toml: x: is wrong"
    assert text.splitlines()[1].strip().startswith("-> correct it")
    assert text.splitlines()[-1] == "2 wrong, of 2 things."
    assert as_text([Finding("x", State.OK, "well")]).splitlines()[-1] == "All is well."
