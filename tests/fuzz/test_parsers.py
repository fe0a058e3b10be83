"""Every parser of what clients send, in Python, under text and bytes that are nearly right; executions are counted.

`FUZZ_SECONDS` is shared among the parsers (2 by itself, more in `make test` and `make fuzz`), and
`FUZZ_SEED` is where chance begins; what fails is printed, and belongs into a test of its own then. The
engine's parsers are in `sfu/engine/tests/fuzz`. This and that share one budget.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import pytest
from pydantic import ValidationError
from vardrum.control.api import caller, problems
from vardrum.control.api.server import TABLE
from vardrum.control.live import client_messages
from vardrum.control.visits.refused import Refused
from vardrum.sfu import sdp
from vardrum.sfu.dtls_records import MAX_DATAGRAM, packed, records
from vardrum.sfu.types import OfferRefused
from vardrum.tests.fuzz.test_sdp_offers import OFFERS, SMALL, check
from vardrum.tests.unit.test_live_messages import EXAMPLES

E = TypeVar("E", bound=Exception)

SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
SEED = os.environ.get("FUZZ_SEED", "1")
ODD = (
    *(b"", b"\0", b"\xff", b"\xc3\xa5", b"\xed\xa0\x80", b"-1", b"65536", b"1e999", b"9" * 400, b"null", b"{}", b"[["),
    *(b"\r\n", b"\r\na=", b'"', b"\\u0000", b"\\ud800", b":", b";", b"=", b"%", b"\x16\xfe\xfd", b"\xe2\x80\xa8"),
)
BODIES = (
    {"care_unit": {"id": "u1", "name": "Unit"}, "title": "Visit", "starts_at": "2026-03-02T09:00:00Z"},
    {"participants": [{"role": "patient", "display_name": "Pat", "phone": "+46701234567"}], "max_participants": 4},
    {"reason": "here", "session": "sess_" + "0" * 32, "method": "seen", "identity": {"level": "vouched"}},
    {"invite": "vri_x", "resume": None, "display_name": "Pat", "language": "sv"},
    {"identity_policy": {"patient": "required"}, "ends_at": None, "time_zone": "Europe/Stockholm"},
)
RECORD = bytes.fromhex("16fefd00000000000000000020 0100001400000000000000 14".replace(" ", "")) + b"\7" * 20


def mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Something like one of the corpus, or like two of them."""
    data = bytearray(chance.choice(corpus))
    if chance.random() < 0.1:
        other = chance.choice(corpus)
        data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + chance.randrange(40)] = chance.choice(ODD)
            case 2:
                del data[at : at + chance.randrange(1, 40)]
            case 3:
                piece = data[at : at + chance.randrange(1, 60)]
                data[at:at] = piece * chance.choice((1, 1, 3, 50))
            case _:
                data[at:at] = chance.choice(ODD)
    return bytes(data)


def offer(data: bytes) -> None:
    check(data.decode("utf-8", "surrogateescape"))


def refused_by(kind: type[E], parse: Callable[[], object]) -> E | None:
    """What `parse` raised of this kind; anything else goes on."""
    try:
        parse()
    except kind as error:
        return error
    return None


def restart(data: bytes) -> None:
    refusal = refused_by(OfferRefused, lambda: sdp.read_restart(data.decode("utf-8", "replace"), FORMER))
    assert refusal is None or len(refusal.detail) < 200


def dtls(data: bytes) -> None:
    passed = [record for record in records(data) if not isinstance(record, str)]
    assert not passed or len(data) <= MAX_DATAGRAM
    assert sum(len(record.data) for record in passed) <= len(data)
    assert sum(map(len, packed(data, 1200))) <= len(data)


def message(data: bytes) -> None:
    error = refused_by(client_messages.Unreadable, lambda: client_messages.read(data.decode("utf-8", "replace")))
    assert error is None or (error.code in ("bad-message", "unknown-type") and len(error.detail) <= 300)


def body(data: bytes) -> None:
    for model in MODELS:
        error = refused_by(ValidationError, partial(model.model_validate_json, data))
        if error is not None:
            refused = problems.of_validation(error, "invalid-body")
            assert len(json.dumps(problems.document(refused, "https://vardrum.example"))) < 20_000


def actor(data: bytes) -> None:
    for header in (base64.urlsafe_b64encode(data).decode().rstrip("="), data.decode("latin-1")):
        error = refused_by(Refused, partial(caller.actor, header))
        assert error is None or error.name == "invalid-header"


FORMER = sdp.read_offer(SMALL)
MODELS = list({route.body: None for route in TABLE if route.body is not None})


def texts(values: Iterable[object]) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


PARSERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "sdp offer": (offer, [text.encode() for text in OFFERS]),
    "sdp of an ICE restart": (restart, [SMALL.encode()]),
    "dtls records": (dtls, [RECORD, RECORD * 3, b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1"]),
    "websocket message": (message, texts(EXAMPLES)),
    "http body": (body, texts(BODIES)),
    "actor header": (actor, texts([{"id": "1", "name": "Anna", "care_unit": None}])),
}


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_the_bytes_no_parser_fails(name: str, figure: Callable[[str], None]) -> None:
    parse, corpus = PARSERS[name]
    for good in corpus:
        parse(good)
    chance = random.Random(f"{SEED} {name}")
    end = time.monotonic() + SECONDS / len(PARSERS)
    count = 0
    while count == 0 or time.monotonic() < end:
        data = mutated(chance, corpus)
        try:
            parse(data)
        except BaseException:
            print(f"parser {name!r}, {len(data)} bytes: {data.hex()}")
            raise
        count += 1
    figure(f"fuzz {name:<22} {count:>12} executions")
