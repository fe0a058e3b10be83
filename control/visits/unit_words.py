"""What a care unit has decided about the messages of its visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..store import models
from ..store.store import Db
from . import care_units
from .scene import Policy
from .values import Function


@dataclass(frozen=True)
class UnitWords:
    """What messages may say of a unit, and by what.

    Attributes:
        sms: whether the unit's function `sms` is on.
        neutral_name: what it is called in messages; None where they name nobody: a unit's name can tell what somebody
            is treated for.
        texts: its own, by subject (`fee`, `preparation`, `physical_visit`) and then by language.
    """

    sms: bool = True
    neutral_name: str | None = None
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


async def unit_words(db: Db, room: models.Room, policy: Policy) -> UnitWords:
    """Of the room's care unit."""
    unit = await care_units.of(db, room.tenant, room.care_unit_key, policy)
    return UnitWords(Function.SMS in unit.functions, unit.neutral_name, unit.texts)
