"""What a room demands to know about someone before they are let in: rules without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from .values import Identity, Role


class Demand(StrEnum):
    """What `identity_policy` asks of a role (CONTRACT, People)."""

    NONE = "none"
    DOCUMENT = "document"  # a loa3 eID, or a host who has recorded a document or knows the person
    LOA3 = "loa3"  # an eID only


# By the names that are kept and shown.
DEFAULT_POLICY: Mapping[str, str] = {
    str(role): str(Demand.DOCUMENT if role is Role.PATIENT else Demand.NONE) for role in Role
}

# How a host can know somebody; everything else is an eID's name and comes only from the provider or the portal.
BY_HOST = frozenset({"document", "known_in_person"})


def unmet(policy: Mapping[str, str], role: Role, identity: Identity | None) -> str | None:
    """What is missing before someone with this role may be admitted; None when nothing is.

    An eID of another subject than the expected one doesn't count.
    """
    demand = Demand(policy.get(role, DEFAULT_POLICY[role]))
    if demand is Demand.NONE:
        return None
    if identity is not None and identity.method not in BY_HOST:
        if identity.expected is False:
            return "the eID that was shown is another person's than the expected one"
        if identity.level in ("loa3", "loa4"):
            return None
    if demand is Demand.LOA3:
        return f"the room demands an eID of level loa3 from a {role}"
    if identity is not None and identity.method in BY_HOST:
        return None
    return f"the room demands from a {role} that a host records a document or knows the person, or an eID of level loa3"
