"""TURN: which addresses are taken, what a credential is, and who gets one when."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from vardrum.control import settings, turn
from vardrum.control.live.presence import Presence
from vardrum.control.live.present import Present
from vardrum.control.live.relays import Relays
from vardrum.control.secret import BadFile
from vardrum.control.settings import BadSettings
from vardrum.control.turn import Turn

SECRET = "00112233445566778899aabbccddeeff"
URL = "turns:turn.region.example:443?transport=tcp"
HOUR = 3600


def test_a_credential_is_what_the_draft_says() -> None:
    # printf '1767225600:abcDEF012345' | openssl dgst -sha1 -hmac $SECRET -binary | base64
    until = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    found = Turn((URL,), SECRET.encode(), HOUR).credential("abcDEF012345", until - HOUR + 0.9)
    assert (found.username, found.password) == ("1767225600:abcDEF012345", "s+ACvjYpp5BxmY/7rgQ59NPoN/s=")
    assert found.password not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "turn:turn.region.example",
        "turn:turn.region.example:3478?transport=udp",
        "turn:192.0.2.20:3478?transport=tcp",
        "turn:[2001:db8::20]:3478",
        URL,
        "turns:turn",
    ],
)
def test_addresses_of_the_rfc_are_taken(url: str) -> None:
    assert turn.address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "turn:",
        "turn.region.example:3478",
        "stun:turn.region.example",
        "turn://turn.region.example",
        "TURN:turn.region.example",
        "turn:turn.region.example:0",
        "turn:turn.region.example:65536",
        "turn:turn.region.example:",
        "turn:turn.region.example?transport=quic",
        "turn:turn.region.example?transport=udp&x=1",
        "turn:turn.region.example/path",
        "turn:user@turn.region.example",
        "turn:turn..region.example",
        "turn:-turn.region.example",
        "turn:192.0.2.300",
        "turn:[2001:db8::20::1]",
        "turn:2001:db8::20",
        "turn:vård.example",
        "turn:turn.region.example\n",
        " turn:turn.region.example",
        f"turn:{'a' * 64}.example",
        f"turn:{'a.' * 126}example",
        "turns:turn.region.example?transport=udp",
    ],
)
def test_whatever_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^is (not a TURN address|TURN over DTLS)"):
        turn.address(url)


def write(folder: Path, secret: str = SECRET, **more: Any) -> Path:
    (folder / "turn.secret").write_text(secret)
    said = {"urls": [URL], "secret_file": str(folder / "turn.secret"), **more}
    file = folder / "v.toml"
    file.write_text("[turn]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))
    return file


def test_the_secret_is_its_file_without_the_line_end_and_is_shown_nowhere(tmp_path: Path) -> None:
    found = settings.load(write(tmp_path, SECRET + "\n", lifetime_minutes=30), environment={})
    server = found.turn_server()
    assert server == Turn((URL,), SECRET.encode(), 1800)
    for shown in (repr(server), repr(found), found.model_dump_json()):
        assert SECRET not in shown


def test_without_addresses_there_is_no_turn_and_no_file_is_read(tmp_path: Path) -> None:
    assert settings.load(environment={}).turn_server() is None
    assert settings.load(write(tmp_path, "short", urls=[]), environment={}).turn_server() is None


def test_a_variable_names_addresses_with_commas(tmp_path: Path) -> None:
    variables = {
        "VARDRUM_TURN__URLS": f"turn:turn.region.example, {URL}",
        "VARDRUM_TURN__SECRET_FILE": str(tmp_path / "x"),
    }
    assert settings.load(environment=variables).turn.urls == ("turn:turn.region.example", URL)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"urls": ["turn:x", "stun:x"]}, "turn.urls: ['turn:x', 'stun:x'] names 'stun:x', which is not a TURN address"),
        ({"urls": [3]}, "turn.urls: [3] is not a list of TURN addresses"),
        ({"urls": [f"turn:{name}" for name in "abcde"]}, "names 5 addresses (expected at most 4)"),
        ({"secret_file": ""}, "turn.secret_file: '' is missing (expected the file with what the TURN server has"),
        ({"lifetime_minutes": 5}, "turn.lifetime_minutes: 5 doesn't fit"),
        (
            {"user": "x"},
            "turn.user: there is no such setting (expected one of lifetime_minutes, secret_file, urls)",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadSettings) as error:
        settings.load(write(tmp_path, **said), environment={})
    assert sentence in str(error.value)


@pytest.mark.parametrize("secret", ["", "tooshort", "with a space in the midst of all this text", "x" * 257, "é" * 32])
def test_a_secret_that_coturn_would_read_otherwise_is_refused_unshown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(BadFile) as error:
        settings.load(write(tmp_path, secret), environment={}).turn_server()
    assert str(error.value).startswith(f"turn.secret_file: {tmp_path / 'turn.secret'} holds no secret (expected 32 to")
    assert not secret or secret not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "turn.secret").unlink()
    with pytest.raises(BadFile, match=r"turn\.secret_file: .*turn\.secret can't be read: No such file"):
        settings.load(file, environment={}).turn_server()


class Clocks:
    """Seconds since some start, and since 1970."""

    def __init__(self) -> None:
        self.now = 50.0

    def relays(self, lifetime: int = 4 * HOUR) -> Relays:
        count = iter(range(256))
        random = lambda size: bytes([next(count)]) * size  # noqa: E731
        return Relays(Turn((URL,), SECRET.encode(), lifetime), lambda: self.now, lambda: 1e9 + self.now, random)


def someone() -> Present:
    return Present("sess_1", "part_1", "part_1", Presence())


def test_a_credential_stays_the_same_until_half_of_its_time_is_over() -> None:
    clocks, one = Clocks(), someone()
    relays = clocks.relays()
    first = relays.servers(one)
    clocks.now += 2 * HOUR - 1
    assert not relays.due(one)
    assert relays.servers(one) == first
    clocks.now += 1
    assert relays.due(one)
    second = relays.servers(one)
    assert second != first
    assert not relays.due(one)
    expiry, _, user = (second[0].username or "").partition(":")
    assert int(expiry) == 1e9 + clocks.now + 4 * HOUR
    # What one user may have on the TURN server isn't had anew with each credential.
    assert (first[0].username or "").partition(":")[2] == user


def test_who_comes_back_gets_a_fresh_one_and_nobody_has_the_name_of_another() -> None:
    clocks, one, other = Clocks(), someone(), someone()
    relays = clocks.relays()
    relays.returned(one)
    assert one.relay is None
    first = relays.servers(one)
    clocks.now += 10
    relays.returned(one)
    again = relays.servers(one)
    assert again != first
    assert relays.servers(other)[0].username not in (first[0].username, again[0].username)
    for said in (first, again):
        assert "sess" not in (said[0].username or "")
        assert "part" not in (said[0].username or "")


def test_without_a_turn_server_nobody_is_told_of_any() -> None:
    one = someone()
    relays = Relays(None, lambda: 0.0, lambda: 0.0, bytes)
    assert relays.servers(one) == []
    assert not relays.due(one)
