"""The engine's SRTP and SRTCP against libsrtp, both ways, live."""

from __future__ import annotations

import random
import struct

import pytest
from pylibsrtp import Error, Policy, Session
from vardrum.sfu.engine import Srtp

# IANA number, libsrtp's name, lengths of key and salt.
PROFILES = [
    pytest.param(1, Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, id="AES128_CM_SHA1_80"),
    pytest.param(7, Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, id="AEAD_AES_128_GCM"),
    pytest.param(8, Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, id="AEAD_AES_256_GCM"),
]
SEED = 20261122


def session(profile: int, key: bytes, *, inbound: bool) -> Session:
    """libsrtp under one master key, one direction, as a browser uses it."""
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=profile,
    )
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return Session(policy)


def rtp(chance: random.Random, sequence: int, ssrc: int) -> bytes:
    """A packet with some CSRCs and now and then an extension."""
    csrcs = chance.randrange(3)
    extended = chance.random() < 0.5
    header = struct.pack(
        "!BBHII", 0x80 | extended << 4 | csrcs, 96, sequence & 0xFFFF, chance.getrandbits(32), ssrc
    ) + chance.randbytes(4 * csrcs)
    if extended:
        words = chance.randrange(4)
        header += struct.pack("!HH", 0xBEDE, words) + chance.randbytes(4 * words)
    return header + chance.randbytes(chance.randrange(1, 1100))


def rtcp(chance: random.Random, ssrc: int) -> bytes:
    return struct.pack("!BBHI", 0x81, 206, 2, ssrc) + chance.randbytes(4)


@pytest.mark.parametrize(("number", "name", "key_length", "salt_length"), PROFILES)
def test_libsrtp_opens_what_the_engine_seals(number: int, name: int, key_length: int, salt_length: int) -> None:
    chance = random.Random(SEED)
    key, salt = chance.randbytes(key_length), chance.randbytes(salt_length)
    ours, theirs = Srtp(number, key, salt), session(name, key + salt, inbound=True)
    for index in range(65_000, 66_200):  # over a wrap of the sequence number
        packet = rtp(chance, index, 0x1234)
        assert theirs.unprotect(ours.seal(packet, roll_over=index >> 16)) == packet
    for _ in range(50):
        report = rtcp(chance, 0x1234)
        assert theirs.unprotect_rtcp(ours.seal(report)) == report


@pytest.mark.parametrize(("number", "name", "key_length", "salt_length"), PROFILES)
def test_the_engine_opens_what_libsrtp_seals_once(number: int, name: int, key_length: int, salt_length: int) -> None:
    chance = random.Random(SEED)
    key, salt = chance.randbytes(key_length), chance.randbytes(salt_length)
    ours, theirs = Srtp(number, key, salt), session(name, key + salt, inbound=False)
    for index in range(65_000, 66_200):
        packet = rtp(chance, index, 0x1234)
        sealed = theirs.protect(packet)
        at = chance.randrange(len(sealed))
        assert ours.open(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]) is None, f"forged at byte {at}"
        assert ours.open(sealed) == packet
        assert ours.open(sealed) is None, "a replay"
    for _ in range(50):
        report = rtcp(chance, 0x1234)
        sealed = theirs.protect_rtcp(report)
        assert ours.open(sealed) == report
        assert ours.open(sealed) is None, "a replay"


def test_another_key_opens_nothing() -> None:
    chance = random.Random(SEED)
    ours = Srtp(7, chance.randbytes(16), chance.randbytes(12))
    theirs = session(Policy.SRTP_PROFILE_AEAD_AES_128_GCM, chance.randbytes(28), inbound=True)
    with pytest.raises(Error):
        theirs.unprotect(ours.seal(rtp(chance, 1, 1)))
