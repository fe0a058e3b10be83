"""The same answer to the same request: what was answered to an `Idempotency-Key` is kept for a day.

It is kept encrypted under the caller's credentials and that key, neither of which is in the database; answers carry
links, which nobody who reads the disk may have. The answer is written in the transaction of the act, so after a crash
either both are there or neither.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..secret import Clock, Random
from ..store import answers
from ..store.store import Store
from ..visits.refused import FieldError, Refused

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
KEY = re.compile(r"[\x21-\x7e]{1,255}")
# These depend on more than the request: the caller is asked to try the same again.
_NOT_KEPT = frozenset({401, 429})


@dataclass(frozen=True)
class Kept:
    """An answer as it went over the wire."""

    status: int
    headers: dict[str, str]
    body: str

    def seal(self) -> bytes:
        return json.dumps([self.status, self.headers, self.body]).encode()

    @classmethod
    def unseal(cls, text: bytes) -> Kept:
        return cls(*json.loads(text))


class Idempotency:
    """Runs requests once per key."""

    def __init__(self, store: Store, clock: Clock, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        # One process answers everything (CONTRACT: one machine to start with), so what runs now is known in memory.
        self._running: set[bytes] = set()

    async def once(
        self,
        key: str,
        credentials: str,
        request: bytes,
        answer: Callable[[], Awaitable[Kept]],
        refuse: Callable[[Refused], Kept],
    ) -> Kept:
        """The answer that was kept for this key, or that of `answer`, which is kept.

        Args:
            key: the header, as given.
            credentials: the API key or token itself.
            request: method, address, headers that matter, and body; hashed.
            refuse: what a refusal is answered with.

        Raises:
            Refused: the key doesn't fit, is still running, or was used with another request.
        """
        if not KEY.fullmatch(key):
            errors = [FieldError(f"#/{HEADER}", "expected 1 to 255 visible ASCII characters")]
            raise Refused("invalid-header", f"{HEADER} can't be used", errors=errors)
        # Both parts are hashed first, so that no pair of them reads like another pair.
        material = hashlib.sha256(credentials.encode()).digest() + hashlib.sha256(key.encode()).digest()
        name, cipher = _derive(material, b"name"), AESGCM(_derive(material, b"answer"))
        fingerprint = _derive(hashlib.sha256(request).digest() + material, b"request")
        if name in self._running:
            raise Refused("request-running", "the first request with this key is still running", retry_after=1)
        self._running.add(name)
        try:
            async with self._store.read(brief=True) as db:
                found = await answers.find(db, name, self._clock())
            if found is not None:
                if found.request != fingerprint:
                    raise Refused("idempotency-key-reused", "this key was used with another request")
                try:
                    return Kept.unseal(cipher.decrypt(found.nonce, found.sealed, name))
                except InvalidTag:
                    raise Refused("internal-error", "the kept answer can't be read") from None
            return await self._run(name, fingerprint, cipher, answer, refuse)
        finally:
            self._running.discard(name)

    async def _run(
        self,
        name: bytes,
        fingerprint: bytes,
        cipher: AESGCM,
        answer: Callable[[], Awaitable[Kept]],
        refuse: Callable[[Refused], Kept],
    ) -> Kept:
        async def keep(kept: Kept) -> None:
            nonce = self._random(12)
            async with self._store.write(brief=True) as transaction:
                now = self._clock()
                sealed = cipher.encrypt(nonce, kept.seal(), name)
                await answers.keep(transaction.db, name, fingerprint, nonce, sealed, now, now + KEPT_FOR)

        try:
            async with self._store.write(brief=True):
                kept = await answer()
                await keep(kept)
            return kept
        except Refused as refused:
            # The act is rolled back; that it was refused is kept by itself.
            kept = refuse(refused)
            if refused.status < 500 and refused.status not in _NOT_KEPT:
                await keep(kept)
            return kept


def _derive(material: bytes, purpose: bytes) -> bytes:
    """32 bytes for one purpose (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"vardrum idempotency " + purpose).derive(material)
