"""The guard that reads every browser test's server log sees what it is there to see."""

from __future__ import annotations

import pytest
from vardrum.tests.support.logs import leaks


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "key used", "key": "vrk_0123456789abcdef"}',
        '{"event": "handshake failed", "address": "192.0.2.17"}',
        '{"event": "handshake failed", "reason": "from [2001:db8::17]:4242"}',
        '{"event": "admitted", "who": "Pia Patient"}',
        "Traceback: ConnectionResetError from ('192.0.2.17', 4242)",
        '{"event": "GET", "path": "/j/test#abcdefghijklmnopqrstuv"}',
    ],
)
def test_a_line_that_says_too_much_is_seen(line: str) -> None:
    assert leaks(line, ["Pia Patient", "abcdefghijklmnopqrstuv"])


@pytest.mark.parametrize(
    "line",
    [
        '{"http": "http://127.0.0.1:8080", "event": "serving", "timestamp": "2027-01-01T10:20:30.123456Z"}',
        '{"event": "handshake failed", "participant": "part_01a204eb-496e-7001-a2e2-b8f8caf4e134"}',
    ],
)
def test_a_line_with_ids_passes(line: str) -> None:
    assert leaks(line, ["Pia Patient"]) == []
