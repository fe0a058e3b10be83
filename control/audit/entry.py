"""One entry of the audit trail, and how entries hang together: no I/O.

What belongs to a person stands in six *fields*. Each is kept beside a salt and a digest over both, and the chain covers
the digest only. So a name can be erased, with its salt, and the chain still verifies; and without the salt nobody can
try names against the digest that is left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Order and names are part of every digest: they never change, new ones come at the end of a version 2.
FIELDS = ("actor_id", "actor_name", "patient_ref", "person_name", "person_ref", "reason")
SALT, DIGEST = 16, 32
NO_SALT, NO_DIGEST = bytes(SALT), bytes(DIGEST)
# What is in the chain as it is.
PLAIN = (
    "at",
    "action",
    "outcome",
    "care_unit",
    "known",
    "actor_key",
    "actor_care_unit",
    "room",
    "participant",
    "detail",
)
_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """As it is in the database: plain values, so that whatever somebody has put there can be looked at.

    Attributes:
        number: 1 for a tenant's first, without gaps.
        at: microseconds since 1970 (UTC).
        known: how the actor is known, a `Known`.
        detail: a JSON object as text.
        salts: 16 bytes for each of `FIELDS`; zeros where there is no value, or none any more.
        digests: 32 bytes for each of `FIELDS`; zeros where there never was a value.
        erased_by: number of the entry that says that fields of this one were erased.
        hash: over the hash before it, all that is plain, and the digests.
    """

    tenant: str
    number: int
    at: int
    action: str
    outcome: str
    care_unit: str | None
    known: str
    actor_key: str | None
    actor_care_unit: str | None
    room: str | None
    participant: str | None
    detail: str
    actor_id: str | None
    actor_name: str | None
    patient_ref: str | None
    person_name: str | None
    person_ref: str | None
    reason: str | None
    salts: bytes
    digests: bytes
    erased_by: int | None
    hash: bytes

    def salt(self, field: str) -> bytes:
        at = FIELDS.index(field) * SALT
        return self.salts[at : at + SALT]

    def digest(self, field: str) -> bytes:
        at = FIELDS.index(field) * DIGEST
        return self.digests[at : at + DIGEST]

    def erased(self) -> list[str]:
        """Fields that had a value, which is gone."""
        return [name for name in FIELDS if getattr(self, name) is None and self.digest(name) != NO_DIGEST]


def genesis(tenant: str) -> bytes:
    """What a tenant's first entry follows: nobody's chain continues another's."""
    return hashlib.sha256(b"vardrum audit chain\0" + tenant.encode()).digest()


def field_digest(field: str, salt: bytes, value: str) -> bytes:
    """What the chain knows of a value."""
    return hashlib.sha256(b"vardrum audit field\0" + field.encode() + b"\0" + salt + value.encode()).digest()


def salted(values: Mapping[str, str | None], random: bytes) -> tuple[bytes, bytes]:
    """Salts and digests of all fields.

    Args:
        values: by names of `FIELDS`.
        random: 16 bytes for each of `FIELDS`.
    """
    salts, digests = [], []
    for at, field in enumerate(FIELDS):
        value = values.get(field)
        salt = NO_SALT if value is None else random[at * SALT : (at + 1) * SALT]
        salts.append(salt)
        digests.append(NO_DIGEST if value is None else field_digest(field, salt, value))
    return b"".join(salts), b"".join(digests)


def without(salts: bytes, fields: list[str]) -> bytes:
    """`salts` with those of `fields` gone."""
    return b"".join(NO_SALT if name in fields else salts[at * SALT : (at + 1) * SALT] for at, name in enumerate(FIELDS))


def chained(before: bytes, tenant: str, number: int, plain: Mapping[str, Any], digests: bytes) -> bytes:
    """The hash of an entry that follows the one whose hash is `before`. `plain`: by names of `PLAIN`.

    JSON of a list of strings, numbers and nulls is one text for one list, so no two entries read the same.
    """
    listed = [_VERSION, tenant, number, *(plain[name] for name in PLAIN)]
    text = json.dumps(listed, ensure_ascii=True, separators=(",", ":")).encode()
    return hashlib.sha256(before + digests + text).digest()


def detail_text(detail: Mapping[str, Any]) -> str:
    """Details as they are kept."""
    return json.dumps(
        {key: value for key, value in detail.items() if value is not None}, sort_keys=True, separators=(",", ":")
    )
