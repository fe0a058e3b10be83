"""Logins: begun by a session in its browser, finished by the same session, and by nobody else.

A login has two secrets. `state` goes to the provider and comes back in an address; the cookie stays in the browser
that began. Only both together find a login, and nonce and PKCE's verifier are made from both: whoever has one of them,
or our database, can't redeem a code. What comes of it is a one-time code, good only for the session that began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from ..secret import Clock, Random, digest, new_secret
from ..settings import Tenant
from ..store import logins as store_logins
from ..store.store import Store
from ..visits import care_units
from ..visits.refused import Refused
from ..visits.rules import State
from ..visits.service import Visits
from ..visits.staff import Staff
from ..visits.values import Actor, Function, Identity, Session, Vouched
from .fetch import Fetch
from .provider import Down, Person, Provider, Refusing

log = structlog.get_logger(__name__)

# An eID's own app asks within some minutes; whoever needs longer begins again.
LOGIN_WITHIN = timedelta(minutes=10)
# The page redeems it as soon as it has it; a slow phone on a bad network takes a while to load it.
CODE_FOR = timedelta(minutes=2)
# Logins of one session that may be under way; more is somebody who fills the table.
MOST = 20
# Staff's begin without any credentials, so anybody may.
MOST_OF_STAFF = 5000
SECRET_BYTES = 32
CODE = "vrc_"
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Started:
    """Where the browser goes, and the cookie that it keeps meanwhile."""

    location: str
    cookie: str


@dataclass(frozen=True)
class Returned:
    """What the callback's page is told: a one-time code, or how it failed.

    Attributes:
        tenant: None where it isn't known which login this was.
        error: `expired`, `browser`, `cancelled`, `level`, `unit`, `failed` or `unavailable`.
    """

    tenant: str | None = None
    staff: bool = False
    code: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Finished:
    """What is known now.

    Attributes:
        counts: whether it meets what the room demands of this person's role.
    """

    identity: Identity
    counts: bool


class Logins:
    """The logins of this installation, over any number of tenants and providers."""

    def __init__(
        self,
        store: Store,
        visits: Visits,
        staff: Staff,
        tenants: Mapping[str, Tenant],
        fetch: Fetch,
        *,
        public_url: str,
        clock: Clock,
        random: Random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._visits = visits
        self._staff = staff
        self._clock = clock
        self._random = random
        # A cookie with this prefix is this host's own, and came over TLS (RFC 6265bis, section 4.1.3.2). A server that
        # is tried on loopback has no TLS.
        self._secure = public_url.startswith("https:")
        self.cookie = "__Host-vardrum-login" if self._secure else "vardrum-login"
        self._providers = {
            (tenant, name): Provider(
                name,
                one,
                fetch,
                f"{public_url}/v1/oidc/{name}/callback",
                now=now,
                wall=lambda: clock().timestamp(),
            )
            for tenant, its in tenants.items()
            for name, one in its.oidc.items()
        }

    def providers(self, tenant: str, *, staff: bool = False) -> list[tuple[str, str]]:
        """(name, label) of what patients, or staff, of a tenant can log in by."""
        return [
            (name, one.settings.label)
            for (whose, name), one in self._providers.items()
            if whose == tenant and one.settings.staff == staff
        ]

    def set_cookie(self, cookie: str) -> dict[str, str]:
        """The header that keeps it; Lax, so that it comes along when the provider sends the browser back."""
        secure = "; Secure" if self._secure else ""
        age = int(LOGIN_WITHIN.total_seconds())
        return {"Set-Cookie": f"{self.cookie}={cookie}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"}

    async def start(self, session: Session, name: str, cookie: str | None, language: str | None = None) -> Started:
        """A login for a session begins in a browser, which may have a cookie of ours already.

        Raises:
            Refused: `not-found`, `state-conflict`, `function-off`, `too-many-requests`; `unavailable` where the
                provider is down.
        """
        provider = self._provider(session.tenant, name, staff=False)
        if Function.EID not in (await self._visits.snapshot(session.room)).functions:
            raise care_units.off(Function.EID, "this care unit takes no eID here")
        if session.state in (State.INVITED, State.DENIED, State.REMOVED):
            raise Refused("state-conflict", f"cannot identify someone who is {session.state}")
        return await self._start(provider, session.tenant, session.id, cookie, "loa3", language)

    async def start_staff(self, tenant: str, name: str, cookie: str | None) -> Started:
        """A login of somebody of the staff begins. Raises Refused as `start`."""
        provider = self._provider(tenant, name, staff=True)
        return await self._start(provider, tenant, None, cookie, None, None)

    async def _start(
        self,
        provider: Provider,
        tenant: str,
        session: str | None,
        cookie: str | None,
        level: str | None,
        language: str | None,
    ) -> Started:
        # The cookie that a login in another tab of this browser goes by is kept: each has a state of its own.
        browser = cookie if cookie and _COOKIE.fullmatch(cookie) else new_secret("", self._random, SECRET_BYTES)
        state = new_secret("", self._random, SECRET_BYTES)
        try:
            location = await provider.location(
                state=state,
                nonce=_derived("nonce", state, browser),
                verifier=_derived("verifier", state, browser),
                level=level,
                language=language,
            )
        except Down:
            raise _unavailable() from None
        now = self._clock()
        async with self._store.write() as transaction:
            most = MOST_OF_STAFF if session is None else MOST
            if await store_logins.begun(transaction.db, tenant, session) >= most:
                raise Refused("too-many-requests", "too many logins are under way", retry_after=60)
            await store_logins.begin(
                transaction.db,
                state=digest(state),
                browser=digest(browser),
                tenant=tenant,
                provider=provider.name,
                session=session,
                now=now,
                expires_at=now + LOGIN_WITHIN,
            )
        return Started(location, browser)

    async def returned(self, name: str, query: Mapping[str, str], cookie: str | None) -> Returned:
        """The provider has sent a browser back; whatever is wrong is said to its page, and identifies nobody."""
        state = query.get("state", "")
        if not cookie:
            return Returned(error="browser")
        async with self._store.write() as transaction:
            login = await store_logins.by_state(transaction.db, digest(state))
            now = self._clock()
            if login is None or login.provider != name or login.returned_at is not None or login.expires_at <= now:
                return Returned(error="expired")
            if not hmac.compare_digest(login.browser, digest(cookie)):
                # Not used up: it is still the other browser's.
                return Returned(error="browser")
            login.returned_at = now
            tenant, session = login.tenant, login.session
        staff = session is None
        provider = self._providers.get((tenant, name))
        if provider is None:
            return Returned(tenant, staff, error="expired")
        try:
            return await self._accept(provider, tenant, session, state, query, cookie)
        except Down:
            return Returned(tenant, staff, error="unavailable")
        except Refusing as refusing:
            log.warning("a login failed", tenant=tenant, provider=name, reason=str(refusing))
            return Returned(tenant, staff, error="failed")

    async def _accept(
        self,
        provider: Provider,
        tenant: str,
        session: str | None,
        state: str,
        query: Mapping[str, str],
        browser: str,
    ) -> Returned:
        staff = session is None
        if not await provider.answered_by(query.get("iss")):
            raise Refusing("another issuer answers")
        if "error" in query:
            cancelled = query["error"] in ("access_denied", "login_required", "interaction_required")
            return Returned(tenant, staff, error="cancelled" if cancelled else "failed")
        person = await provider.person(
            code=query.get("code", ""),
            verifier=_derived("verifier", state, browser),
            nonce=_derived("nonce", state, browser),
        )
        if person.level is None and provider.settings.levels:
            return Returned(tenant, staff, error="level")
        if session is None:
            return await self._welcome_staff(provider, tenant, person, browser)
        code, now = new_secret(CODE, self._random, SECRET_BYTES), self._clock()
        who = Vouched(provider.name, str(person.level), person.subject, person.name)
        kept = await self._visits.identity_of(session, who, Actor(provider.name, provider.settings.label))
        async with self._store.write() as transaction:
            await store_logins.worth(transaction.db, digest(state), digest(code), kept, now + CODE_FOR)
        return Returned(tenant, staff, code=code)

    async def _welcome_staff(self, provider: Provider, tenant: str, person: Person, browser: str) -> Returned:
        said = person.claims.get(str(provider.settings.care_unit_claim))
        units = [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str) and one][:50]
        if not units:
            return Returned(tenant, True, error="unit")
        actor = Actor(person.subject, person.name or person.subject)
        return Returned(tenant, True, code=await self._staff.code(tenant, actor, units, browser=browser))

    async def finish(self, session: Session, code: str) -> Finished:
        """The session that began redeems the code, once. Raises Refused `token-not-accepted` for every other."""
        async with self._store.write() as transaction:
            login = await store_logins.by_code(transaction.db, digest(code))
            usable = login is not None and login.session == session.id and login.expires_at > self._clock()
            if login is None or login.identity is None or not usable:
                raise Refused("token-not-accepted", "this code isn't valid here, or has been used")
            kept: dict[str, Any] = login.identity
            await store_logins.forget(transaction.db, login)
            after, counts = await self._visits.record_eid(session.id, kept)
        identity = after.identity
        if identity is None:
            raise RuntimeError("an identity was recorded")
        return Finished(identity, counts)

    def _provider(self, tenant: str, name: str, *, staff: bool) -> Provider:
        found = self._providers.get((tenant, name))
        if found is None or found.settings.staff != staff:
            raise Refused("not-found", "there is no such provider")
        return found


def _derived(purpose: str, state: str, browser: str) -> str:
    """43 characters (RFC 7636, section 4.1) that only state and cookie together give."""
    value = hmac.digest(browser.encode(), f"{purpose} {state}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _unavailable() -> Refused:
    return Refused("unavailable", "the provider can't be reached just now", retry_after=30)
