"""ID tokens: what is believed, and everything that isn't."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from vardrum.control.oidc.tokens import BadToken, UnknownKey, check, keys, verified

NOW = 1_800_000_000.0
ISSUER, CLIENT, NONCE = "https://idp.example", "vardrum", "n-1"
GOOD = {"iss": ISSUER, "aud": CLIENT, "nonce": NONCE, "sub": "anna", "exp": NOW + 300, "iat": NOW}
RSA = RSAKey.generate_key(2048, {"kid": "r"}, private=True)
EC = ECKey.generate_key("P-256", {"kid": "e"}, private=True)
ALGORITHMS = ("RS256", "ES256")


def key_set(*listed: Any) -> dict[str, Any]:
    return {"keys": [one.as_dict(private=False) if hasattr(one, "as_dict") else one for one in listed]}


def signed(key: Any, algorithm: str, claims: Mapping[str, Any] = GOOD, **header: Any) -> str:
    return jwt.encode({"alg": algorithm, **header}, dict(claims), key, algorithms=[algorithm])


def encoded(value: Mapping[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_signature_by_any_of_the_keys_is_believed() -> None:
    known = keys(key_set(RSA, EC))
    assert verified(signed(RSA, "RS256", kid="r"), known, ALGORITHMS)["sub"] == "anna"
    assert verified(signed(EC, "ES256", kid="e"), known, ALGORITHMS)["sub"] == "anna"
    # Without a name each is tried.
    assert verified(signed(EC, "ES256"), known, ALGORITHMS)["sub"] == "anna"


def test_a_key_that_is_not_there_yet_is_told_apart() -> None:
    known = keys(key_set(RSA))
    for token in (signed(EC, "ES256", kid="new"), signed(EC, "ES256")):
        with pytest.raises(UnknownKey):
            verified(token, known, ALGORITHMS)


def test_no_signature_and_a_signature_with_the_public_key_as_secret_are_refused() -> None:
    known = keys(key_set(RSA))
    head, body = encoded({"alg": "none"}), encoded(GOOD)
    public = RSA.as_pem(private=False)
    mac_head = encoded({"alg": "HS256", "kid": "r"})
    mac = hmac.digest(public, f"{mac_head}.{body}".encode(), "sha256")
    for token in (f"{head}.{body}.", f"{head}.{body}.{encoded(b'x')}", f"{mac_head}.{body}.{encoded(mac)}"):
        with pytest.raises(BadToken):
            verified(token, known, ALGORITHMS)


def test_a_changed_token_is_refused() -> None:
    known = keys(key_set(RSA))
    head, _, signature = signed(RSA, "RS256", kid="r").split(".")
    with pytest.raises(BadToken):
        verified(f"{head}.{encoded({**GOOD, 'sub': 'bo'})}.{signature}", known, ALGORITHMS)
    # An algorithm that the key could do, but nobody has allowed.
    with pytest.raises(BadToken):
        verified(signed(RSA, "RS512", kid="r"), known, ALGORITHMS)


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "a.b.c.d.e", "å.b.c", "." * 40_000, "e30.e30.", "bnVsbA.e30.x"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadToken):
        verified(token, keys(key_set(RSA)), ALGORITHMS)


def test_keys_that_are_no_public_signing_keys_are_passed_over() -> None:
    secret = OctKey.generate_key(256, {"kid": "o"}, private=True).as_dict(private=True)
    encrypting = {**RSA.as_dict(private=False), "use": "enc"}
    odd: list[Any] = [
        None,
        1,
        {},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-1", "x": "", "y": ""},
        {"kty": "RSA", "n": 3},
    ]
    assert [one.kid for one in keys(key_set(secret, encrypting, *odd, EC))] == ["e"]
    broken: list[dict[str, Any]] = [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}]
    for found in broken:
        assert keys(found) == []


@pytest.mark.parametrize("skew", [-59, 0, 59])
def test_clocks_may_differ_by_a_minute(skew: float) -> None:
    check({**GOOD, "iat": NOW + skew, "exp": NOW + skew + 1}, issuer=ISSUER, client=CLIENT, nonce=NONCE, now=NOW)


def test_several_audiences_need_ours_as_the_party_it_was_given_to() -> None:
    check({**GOOD, "aud": ["other", CLIENT], "azp": CLIENT}, issuer=ISSUER, client=CLIENT, nonce=NONCE, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://idp.example/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"aud": {"vardrum": 1}},
        {"aud": ["other", CLIENT]},
        {"aud": ["other", CLIENT], "azp": "other"},
        {"azp": "other"},
        {"nonce": "n-2"},
        {"nonce": None},
        {"nonce": 1},
        {"exp": NOW - 61},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"iat": NOW + 61},
        {"iat": NOW - 700},
        {"iat": None},
        {"nbf": NOW + 61},
        {"nbf": "x"},
        {"sub": ""},
        {"sub": None},
        {"sub": 1},
    ],
)
def test_claims_that_are_not_of_this_login_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        check({**GOOD, **change}, issuer=ISSUER, client=CLIENT, nonce=NONCE, now=NOW)
