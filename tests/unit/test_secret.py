"""Ids and secrets."""

from __future__ import annotations

import os
import uuid

from vardrum.control.secret import ID, Ids, digest, new_secret


def test_ids_are_uuid7_and_grow_even_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    clock = iter([1_772_445_600_000] * 5000 + [1_772_445_599_000] * 10)
    ids = Ids(os.urandom, lambda: next(clock))
    made = [ids.new("room") for _ in range(5010)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    for one in made[:3]:
        assert ID.fullmatch(one)
        value = uuid.UUID(one.partition("_")[2])
        assert value.variant == uuid.RFC_4122
        assert value.version == 7
        assert value.int >> 80 == 1_772_445_600_000


def test_a_secret_has_128_bits_and_is_kept_as_32_bytes() -> None:
    secret = new_secret("vrk_", lambda count: bytes(range(count)))
    assert secret == "vrk_AAECAwQFBgcICQoLDA0ODw"
    assert len(digest(secret)) == 32
    assert digest("\ud800")  # nothing that a client can say makes it fail
