"""The keyring: what is sealed opens as what it is and as nothing else, and old keys stay good."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from vardrum.control import keyring
from vardrum.control.keyring import BadKeyring, Keyring, Unreadable


def ring(current: str = "k1", **keys: bytes) -> Keyring:
    return Keyring(keys or {"k1": bytes(32)}, current)


def test_what_is_sealed_opens_and_never_looks_the_same() -> None:
    one = ring()
    sealed = [one.seal(b"+46700000000", "phone part_1") for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert b"+467" not in sealed[0]
    assert [one.open(each, "phone part_1") for each in sealed] == [b"+46700000000"] * 2


@pytest.mark.parametrize("at", [0, 3, 8, 16, -1])
def test_what_was_changed_or_moved_does_not_open(at: int) -> None:
    one = ring()
    sealed = bytearray(one.seal(b"secret", "phone part_1"))
    with pytest.raises(Unreadable):
        one.open(bytes(sealed), "phone part_2")
    sealed[at] ^= 1
    with pytest.raises(Unreadable):
        one.open(bytes(sealed), "phone part_1")


@pytest.mark.parametrize("sealed", [b"", b"k1", b"k1\0", b"k1\0short", b"\xff\0" + bytes(40), b"k9\0" + bytes(40)])
def test_bytes_from_anywhere_are_unreadable_and_no_crash(sealed: bytes) -> None:
    with pytest.raises(Unreadable):
        ring().open(sealed, "x")


def test_marks_tell_the_same_value_by_the_same_key_for_the_same_purpose() -> None:
    one = ring()
    mark = one.mark("191212121212", "subject region")
    assert "1212" not in mark
    assert one.is_marked(mark, "191212121212", "subject region")
    assert not one.is_marked(mark, "191212121213", "subject region")
    assert not one.is_marked(mark, "191212121212", "subject other")
    other = Keyring({"k1": bytes([1]) * 32}, "k1")
    assert not other.is_marked(mark, "191212121212", "subject region")
    assert not ring().is_marked("nonsense", "191212121212", "subject region")


def test_after_a_rotation_old_things_open_and_new_ones_are_under_the_new_key(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    old = keyring.load(path, create=True)
    sealed, mark, signed = old.seal(b"a", "x"), old.mark("a", "x"), old.signing_key("audit").sign(b"head")
    assert keyring.rotate(path) == "k2"
    new = keyring.load(path, create=False)
    assert new.current == "k2"
    assert new.open(sealed, "x") == b"a"
    assert new.is_marked(mark, "a", "x")
    new.signing_key("audit", "k1").public_key().verify(signed, b"head")
    assert new.seal(b"a", "x").startswith(b"k2\0")
    with pytest.raises(Unreadable):
        old.open(new.seal(b"a", "x"), "x")


def test_the_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    with pytest.raises(BadKeyring, match="there is no such file"):
        keyring.load(path, create=False)
    first = keyring.load(path, create=True, random=os.urandom)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyring.load(path, create=True).is_marked(first.mark("a", "x"), "a", "x")


def test_a_keyring_is_on_disk_before_anything_is_sealed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the file but its name: a power cut must not bring an older keyring back, or none."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        done.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    path = tmp_path / "keyring.json"
    keyring.load(path, create=True)
    keyring.rotate(path)
    assert done == ["file", "name", "folder"] * 2


def test_operators_who_rotate_at_the_same_time_get_a_key_each(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    keyring.load(path, create=True)
    ready = threading.Barrier(8)

    def rotate() -> str:
        ready.wait()
        return keyring.rotate(path)

    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(rotate) for _ in range(8)]
    assert sorted(one.result() for one in made) == [f"k{number}" for number in range(2, 10)]
    assert keyring.load(path, create=False).names == [f"k{number}" for number in range(1, 10)]


def test_who_may_read_a_keyring_still_may_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    keyring.load(path, create=True)
    path.chmod(0o640)
    if os.getuid() == 0:  # as `sudo vardrum keyring rotate` for a server with a user of its own
        os.chown(path, 65_534, 65_534)
    before = path.stat()
    keyring.rotate(path)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_keyring_behind_a_link_is_rotated_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    there, path = tmp_path / "elsewhere" / "kept.json", tmp_path / "keyring.json"
    keyring.load(there, create=True)
    path.symlink_to(there)
    keyring.rotate(path)
    assert path.is_symlink()
    assert keyring.load(there, create=False).current == "k2"


KEY = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        json.dumps({"current": "k1"}),
        json.dumps({"current": "k2", "keys": {"k1": KEY}}),
        json.dumps({"current": "k1", "keys": {"k1": KEY[:-8]}}),
        json.dumps({"current": "k1", "keys": {"k1": 7}}),
        json.dumps({"current": "k1", "keys": {"k1": KEY, "K 2": KEY}}),
        json.dumps({"current": ["k1"], "keys": {"k1": KEY}}),
        json.dumps({"current": "k1", "keys": [KEY]}),
    ],
)
def test_a_file_that_is_no_keyring_is_said_without_what_it_holds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(text)
    with pytest.raises(BadKeyring, match="is no keyring") as told:
        keyring.load(path, create=True)
    assert KEY[:-8] not in str(told.value)
