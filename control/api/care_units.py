"""/v1/care-units: what each unit has chosen for its visits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ..visits.refused import Refused
from ..visits.values import Function, UnitSettings
from .caller import Scope
from .fields import MISSING, Body, Name, Paragraph, Phone, View
from .routing import Answer, Asked, Routes, etag

routes = Routes()
ONE = "/v1/care-units/{care_unit}"
NAME: TypeAdapter[str] = TypeAdapter(Name)

Texts = dict[Literal["sv", "en", "fi", "ar"], Paragraph]


def _once(functions: list[Function]) -> list[Function]:
    if len(set(functions)) != len(functions):
        raise ValueError("names one twice")
    return functions


class TextsBody(Body):
    """What patients of the unit are told, by language."""

    fee: Texts = Field(default_factory=dict)
    preparation: Texts = Field(default_factory=dict)
    physical_visit: Texts = Field(default_factory=dict)


class CareUnitSettingsBody(Body):
    """All that a unit has chosen; what is left out is off, or not there."""

    functions: Annotated[list[Function], Field(max_length=20), AfterValidator(_once)]
    phone: Phone | None = None
    texts: TextsBody = Field(default_factory=TextsBody)
    neutral_name: Name | None = None


class TextsView(View):
    fee: dict[str, str]
    preparation: dict[str, str]
    physical_visit: dict[str, str]


class CareUnitSettingsView(View):
    """What a unit has chosen, or the installation's defaults where it has chosen nothing."""

    care_unit: str
    functions: list[Function]
    phone: str | None = MISSING
    texts: TextsView
    neutral_name: str | None = MISSING


def _unit(asked: Asked) -> str:
    """`hsa_id`, else name, as rooms have it. Raises Refused `not-found` for what no room could have."""
    try:
        return NAME.validate_python(asked.path("care_unit"))
    except ValidationError:
        raise Refused("not-found", "no care unit can have this name") from None


def _shown(care_unit: str, unit: UnitSettings) -> Answer:
    view = CareUnitSettingsView(
        care_unit=care_unit,
        functions=[one for one in Function if one in unit.functions],
        phone=unit.phone,
        texts=TextsView(**{subject: dict(unit.texts.get(subject, {})) for subject in TextsView.model_fields}),
        neutral_name=unit.neutral_name,
    )
    return Answer(view, 200, etag(unit.version))


@routes.add("GET", ONE, scope=Scope.ADMIN, answer=CareUnitSettingsView)
async def read(asked: Asked) -> Answer:
    """Read what a care unit has chosen; one that has chosen nothing has the installation's defaults."""
    care_unit = _unit(asked)
    return _shown(care_unit, await asked.care_units.read(asked.tenant, care_unit))


@routes.add(
    "PUT",
    ONE,
    scope=Scope.ADMIN,
    body=CareUnitSettingsBody,
    if_match=True,
    answer=CareUnitSettingsView,
    problems=("version-mismatch",),
)
async def replace(asked: Asked) -> Answer:
    """Replace all that a care unit has chosen; where If-Match is given, only that version."""
    body: CareUnitSettingsBody = asked.body
    care_unit = _unit(asked)
    new = UnitSettings(
        functions=frozenset(body.functions),
        phone=body.phone,
        texts={subject: texts for subject, texts in body.texts.model_dump().items() if texts},
        neutral_name=body.neutral_name,
    )
    unit = await asked.care_units.replace(asked.tenant, care_unit, new, version=asked.wanted_version)
    return _shown(care_unit, unit)
