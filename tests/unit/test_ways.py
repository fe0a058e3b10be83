"""The files that the settings of e-mail and SMS name: what can't be used is said, and nothing of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vardrum.control import settings
from vardrum.control.notify.ways import ways
from vardrum.control.secret import BadFile
from vardrum.control.visits.messages import Channel

SMTP = {"host": "mail.region.example", "sender": "Region <noreply@region.example>"}
SMS = {"url": "https://sms.region.example/send"}


def made(**tables: Any) -> settings.Settings:
    return settings.load(overrides=tables, environment={})


def test_nothing_is_sent_until_something_is_set_up() -> None:
    assert ways(made()) == {}


def test_what_is_set_up_is_there(tmp_path: Path) -> None:
    password, headers = tmp_path / "password", tmp_path / "headers"
    password.write_text("secret\n")
    headers.write_text("# ours\n\nAuthorization: Bearer secret:1\n")
    smtp = {**SMTP, "user": "u", "password_file": str(password)}
    found = ways(made(smtp=smtp, sms={**SMS, "headers_file": str(headers)}))
    assert set(found) == {Channel.EMAIL, Channel.SMS}
    assert "secret" not in repr(vars(found[Channel.SMS]))
    assert "secret" not in repr(vars(found[Channel.EMAIL]))


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"smtp": {**SMTP, "user": "u", "password_file": "none"}}, "smtp.password_file: none can't be read: No such"),
        ({"smtp": {**SMTP, "ca_file": "none"}}, "smtp.ca_file: none can't be used: No such file"),
        ({"smtp": {**SMTP, "ca_file": "text"}}, "smtp.ca_file: text can't be used"),
        ({"sms": {**SMS, "headers_file": "none"}}, "sms.headers_file: none can't be read"),
        ({"sms": {**SMS, "headers_file": "text"}}, "sms.headers_file: text has a line that isn't a header"),
        ({"sms": {**SMS, "headers_file": "bytes"}}, "sms.headers_file: bytes isn't text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Any, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("se cret\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile) as error:
        ways(made(**tables))
    assert str(error.value).startswith(says)
    assert "se cret" not in str(error.value)
