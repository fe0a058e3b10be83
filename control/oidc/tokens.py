"""An ID token: whether it is the provider's, for us, for this login, and of now (OpenID Connect Core 1.0, 3.1.3.7)."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey

LARGEST = 32 * 1024
# Clocks of servers differ by seconds; a phone's clock isn't asked.
SKEW = 60.0
# An ID token is made while the browser comes back to us, a minute ago at most.
OLDEST = 600.0
# Of keys without a name each is tried; a provider has two or three.
MOST_KEYS = 16


class BadToken(Exception):
    """Not to be believed; the message says why, and nothing of what the token says."""


class UnknownKey(BadToken):
    """Signed by a key that isn't in the set: the provider may have changed its keys."""


def keys(found: Mapping[str, Any]) -> list[Key]:
    """The public keys of a JWK set (RFC 7517, section 5) that can have signed something; others are passed over."""
    listed = found.get("keys")
    usable: list[Key] = []
    for one in listed[:64] if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        public = {name: value for name, value in one.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "k")}
        kind: Any = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}.get(str(one.get("kty")))
        if kind is None:
            continue
        try:
            usable.append(kind.import_key(public))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return usable


def verified(token: str, known: Sequence[Key], algorithms: Collection[str]) -> Mapping[str, Any]:
    """The claims of a token that one of the keys has signed.

    Args:
        algorithms: those that are accepted, all of them of public keys.

    Raises:
        UnknownKey, BadToken.
    """
    if len(token) > LARGEST:
        raise BadToken("it is too long")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError) as error:
        raise BadToken("it is no JWS") from error
    algorithm, name = header.get("alg"), header.get("kid")
    if algorithm not in algorithms:
        raise BadToken("its algorithm isn't among those that are accepted")
    candidates = [one for one in known if name is None or one.kid == name]
    if not candidates:
        raise UnknownKey("no key has the name that it gives")
    for key in candidates[:MOST_KEYS]:
        try:
            return jwt.decode(token, key, algorithms=[str(algorithm)]).claims
        except (JoseError, ValueError, TypeError):
            continue
    if name is None:
        raise UnknownKey("none of the keys has signed it")
    raise BadToken("its signature doesn't fit")


def check(claims: Mapping[str, Any], *, issuer: str, client: str, nonce: str, now: float) -> None:
    """Raises BadToken where the claims aren't of this provider, for this client, for this login, and of now.

    Args:
        now: seconds since 1970.
    """
    if claims.get("iss") != issuer:
        raise BadToken("it is another issuer's")
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if client not in listed:
        raise BadToken("it is for another client")
    if (len(listed) > 1 or "azp" in claims) and claims.get("azp") != client:
        raise BadToken("it was given to another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise BadToken("it is of another login")
    expires, issued, begins = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or expires <= now - SKEW:
        raise BadToken("it has expired")
    if issued is None or issued > now + SKEW or issued < now - OLDEST - SKEW:
        raise BadToken("it isn't of now")
    if begins is not None and begins > now + SKEW:
        raise BadToken("it isn't valid yet")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise BadToken("it is nobody's")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadToken(f"its {name} is no time")
    return float(value)
