"""One provider: where it is asked, with which keys it signs, and what it says of somebody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog

from ..settings import OidcProvider
from . import tokens
from .fetch import Declined, Fetch, Unreachable

log = structlog.get_logger(__name__)

# Seconds. A discovery document changes once in years; where it can't be had, yesterday's is better than none.
FRESH, STALE = 3600.0, 24 * 3600.0
# A provider that is down isn't asked for each patient who presses the button.
DOWN_FOR = 5.0
# However many tokens name unknown keys, the key set is asked for once in so many seconds.
KEYS_EVERY = 15.0


class Down(Exception):
    """The provider can't be used just now."""


class Refusing(Exception):
    """What the provider says isn't to be believed, or it declines; the message is for the log."""


@dataclass(frozen=True)
class Person:
    """Somebody who has logged in.

    Attributes:
        level: of the login; None where its `acr` isn't among those that count.
        claims: what else is said of them; not to be kept.
    """

    subject: str
    name: str
    level: str | None
    claims: Mapping[str, Any]


class Provider:
    """A tenant's provider, by its settings.

    Times are `now` (monotonic, for what is cached) and `wall` (seconds since 1970, for what tokens say).
    """

    def __init__(
        self,
        name: str,
        settings: OidcProvider,
        fetch: Fetch,
        redirect_uri: str,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self.redirect_uri = redirect_uri
        self._document = settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        self._fetch = fetch
        self._now = now
        self._wall = wall
        self._lock = asyncio.Lock()
        self._metadata: Mapping[str, Any] | None = None
        self._fetched = self._failed = float("-inf")
        self._keys: Sequence[tokens.Key] = ()
        self._keys_asked = float("-inf")  # again, for a key that wasn't among them

    async def location(self, *, state: str, nonce: str, verifier: str, level: str | None, language: str | None) -> str:
        """Where the browser is sent to log in (OpenID Connect Core 1.0, 3.1.2.1; RFC 7636, section 4.3).

        Args:
            level: the least that counts, such as `loa3`; the provider is asked for what is at least that.

        Raises:
            Down.
        """
        metadata = await self._discovered()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(dict.fromkeys(["openid", *self.settings.scopes])),
            "state": state,
            "nonce": nonce,
            "code_challenge": _base64url(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        levels = self.settings.levels
        enough = [acr for acr, one in levels.items() if level is None or one >= level] or list(levels)
        if enough:
            query["acr_values"] = " ".join(enough)
        if self.settings.prompt:
            query["prompt"] = self.settings.prompt
        if language:
            query["ui_locales"] = language
        endpoint = metadata["authorization_endpoint"]
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def answered_by(self, issuer: str | None) -> bool:
        """Whether an answer with this `iss` is the provider's (RFC 9207, section 2.4). Raises Down."""
        metadata = await self._discovered()
        if issuer is None:
            return metadata.get("authorization_response_iss_parameter_supported") is not True
        return issuer == self.settings.issuer

    async def person(self, *, code: str, verifier: str, nonce: str) -> Person:
        """Who has logged in, for the code that the browser came back with. Raises Down or Refusing."""
        metadata = await self._discovered()
        answer = await self._redeem(metadata, code, verifier)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Refusing("no ID token")
        claims = await self._believed(metadata, token, nonce)
        said = claims if self._says_all(claims) else await self._more(metadata, claims, answer.get("access_token"))
        subject, name = _text(said.get(self.settings.subject_claim)), _text(said.get(self.settings.name_claim))
        if not subject:
            raise Refusing("the subject's claim is missing")
        acr = claims.get("acr")
        level = self.settings.levels.get(acr) if isinstance(acr, str) else None
        return Person(subject, name[:200], level, said)

    # -- its documents --

    async def _discovered(self) -> Mapping[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0, section 4). Raises Down."""
        async with self._lock:
            now = self._now()
            if self._metadata is not None and now - self._fetched < FRESH:
                return self._metadata
            if now - self._failed >= DOWN_FOR:
                try:
                    self._metadata, self._fetched = self._checked(await self._fetch.get(self._document)), now
                    return self._metadata
                except (Unreachable, Declined, Refusing) as error:
                    self._failed = now
                    log.warning("a provider can't be used", provider=self.name, reason=str(error))
            if self._metadata is not None and now - self._fetched < STALE:
                return self._metadata
            raise Down

    def _checked(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        if found.get("issuer") != self.settings.issuer:
            raise Refusing("its discovery document names another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not self._address(found.get(name)):
                raise Refusing(f"its {name} is no https address")
        return found

    def _address(self, value: object) -> bool:
        # As the issuer's: https, or http on this machine.
        if not isinstance(value, str):
            return False
        parts = urlsplit(value)
        local = parts.scheme == "http" and self.settings.issuer.startswith("http:")
        return bool(parts.hostname) and (parts.scheme == "https" or local) and not parts.fragment

    async def _fetch_keys(self, metadata: Mapping[str, Any]) -> None:
        """Raises Down where there are none at all."""
        async with self._lock:
            if self._keys:
                if self._now() - self._keys_asked < KEYS_EVERY:
                    return
                self._keys_asked = self._now()
            try:
                self._keys = tokens.keys(await self._fetch.get(metadata["jwks_uri"]))
            except (Unreachable, Declined) as error:
                log.warning("a provider's keys can't be had", provider=self.name, reason=str(error))
                if not self._keys:
                    raise Down from None

    # -- its answers --

    async def _redeem(self, metadata: Mapping[str, Any], code: str, verifier: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        try:
            secret = self.settings.secret()
        except (OSError, ValueError):
            log.error("client_secret_file can't be read", provider=self.name)
            raise Down from None
        supported = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = None
        if secret is None:
            form["client_id"] = self.settings.client_id
        elif "client_secret_basic" in supported or "client_secret_post" not in supported:
            # RFC 6749, section 2.3.1: both are form-encoded first.
            basic = (_encoded(self.settings.client_id), _encoded(secret))
        else:
            form |= {"client_id": self.settings.client_id, "client_secret": secret}
        try:
            return await self._fetch.post(metadata["token_endpoint"], form, basic)
        except Unreachable as error:
            log.warning("a provider can't be used", provider=self.name, reason=str(error))
            raise Down from None
        except Declined as declined:
            raise Refusing(f"it declines the code: {declined.error}") from None

    async def _believed(self, metadata: Mapping[str, Any], token: str, nonce: str) -> Mapping[str, Any]:
        if not self._keys:
            await self._fetch_keys(metadata)
        try:
            try:
                claims = tokens.verified(token, self._keys, self.settings.algorithms)
            except tokens.UnknownKey:
                await self._fetch_keys(metadata)
                claims = tokens.verified(token, self._keys, self.settings.algorithms)
            tokens.check(
                claims, issuer=self.settings.issuer, client=self.settings.client_id, nonce=nonce, now=self._wall()
            )
        except tokens.BadToken as error:
            raise Refusing(f"its ID token isn't believed: {error}") from None
        return claims

    def _says_all(self, claims: Mapping[str, Any]) -> bool:
        wanted = [self.settings.subject_claim, self.settings.name_claim, self.settings.care_unit_claim]
        return all(name is None or name in claims for name in wanted)

    async def _more(self, metadata: Mapping[str, Any], claims: Mapping[str, Any], token: object) -> Mapping[str, Any]:
        """With what userinfo adds (OpenID Connect Core 1.0, 5.3): many providers keep the ID token short."""
        endpoint = metadata.get("userinfo_endpoint")
        if not isinstance(token, str) or not self._address(endpoint):
            return claims
        try:
            more = await self._fetch.get(str(endpoint), token)
        except Unreachable as error:
            log.warning("a provider can't be used", provider=self.name, reason=str(error))
            raise Down from None
        except Declined as declined:
            raise Refusing(f"it declines userinfo: {declined.error}") from None
        if more.get("sub") != claims["sub"]:
            raise Refusing("userinfo is another person's")
        return {**more, **claims}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) and value.isprintable() and len(value) <= 500 else ""


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _encoded(value: str) -> str:
    return urlencode({"": value})[1:]
