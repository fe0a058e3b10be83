"""What care units choose for their visits: functions, texts, and the names and numbers that patients see."""

from __future__ import annotations

from dataclasses import dataclass

from ..secret import Clock
from ..store import audit, models, queries
from ..store.store import Db, Store
from .refused import Refused
from .scene import Policy
from .values import Function, Role, UnitSettings

LANGUAGES = ("sv", "en", "fi", "ar")
SUBJECTS = ("fee", "preparation", "physical_visit")
# More units than a country has.
MOST_UNITS = 10_000
# Whom `link_join` is about: people who come because of the patient, and aren't known to the unit otherwise.
ACCOMPANYING = frozenset({Role.RELATIVE, Role.OTHER})


async def of(db: Db, tenant: str, care_unit: str, policy: Policy) -> UnitSettings:
    """What the unit has chosen; for one that has chosen nothing, what the installation says."""
    row = await queries.care_unit(db, tenant, care_unit)
    return UnitSettings(functions=policy.functions) if row is None else _settings(row)


async def has(db: Db, room: models.Room, policy: Policy, function: Function) -> bool:
    """Whether it is on in this room."""
    unit = await of(db, room.tenant, room.care_unit_key, policy)
    return function in unit.on(room.form)


class Units:
    """What units have chosen, kept in memory: every arrival asks, and they choose anew once a year."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: dict[tuple[str, str], UnitSettings] = {}
        self._changes = 0

    def known(self, tenant: str, care_unit: str) -> UnitSettings | None:
        """Without asking the database."""
        return self._known.get((tenant, care_unit))

    async def of(self, db: Db, tenant: str, care_unit: str) -> UnitSettings:
        """As the function `of`."""
        found, changes = self.known(tenant, care_unit), self._changes
        if found is None:
            found = await of(db, tenant, care_unit, self._policy)
            if changes == self._changes:
                if len(self._known) >= MOST_UNITS:
                    self._known.clear()
                self._known[tenant, care_unit] = found
        return found

    async def forget(self, tenant: str, care_unit: str) -> None:
        """The unit has chosen anew: called in the transaction, and again once it is on disk."""
        self._changes += 1
        self._known.pop((tenant, care_unit), None)


def off(function: Function, detail: str) -> Refused:
    """The refusal of what the room's unit has switched off."""
    return Refused("function-off", detail, extra={"function": str(function)})


@dataclass(frozen=True)
class CareUnits:
    """Reads and writes what units choose."""

    store: Store
    policy: Policy
    clock: Clock
    units: Units

    async def read(self, tenant: str, care_unit: str) -> UnitSettings:
        """Any unit has settings, also one that no visit was booked for yet."""
        async with self.store.read() as db:
            return await of(db, tenant, care_unit, self.policy)

    async def replace(self, tenant: str, care_unit: str, new: UnitSettings, *, version: int | None) -> UnitSettings:
        """All of it at once; `version` is If-Match, None for any. Visits hear of it at their next change or arrival.

        Raises:
            Refused: `version-mismatch`.
        """
        async with self.store.write() as transaction:
            row = await queries.care_unit(transaction.db, tenant, care_unit)
            present = 0 if row is None else row.version
            if version is not None and version != present:
                raise Refused("version-mismatch", "it has changed since you read it: read it again")
            if row is None:
                row = models.CareUnit(tenant=tenant, care_unit=care_unit)
                transaction.db.add(row)
            row.functions = sorted(new.functions)
            row.phone = new.phone
            row.texts = {subject: dict(texts) for subject, texts in new.texts.items()}
            row.neutral_name = new.neutral_name
            row.updated_at = self.clock()
            row.version = present + 1
            detail = {"functions": row.functions, "version": row.version}
            audit.record(
                transaction, "care_unit.changed", tenant=tenant, at=self.clock(), care_unit=care_unit, detail=detail
            )
            await self.units.forget(tenant, care_unit)
            transaction.after_commit.append(lambda: self.units.forget(tenant, care_unit))
            return _settings(row)


def _settings(row: models.CareUnit) -> UnitSettings:
    return UnitSettings(
        functions=frozenset(Function(one) for one in row.functions),
        phone=row.phone,
        texts=row.texts,
        neutral_name=row.neutral_name,
        version=row.version,
    )
