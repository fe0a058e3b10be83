"""The kinds of fields that requests are made of, each with its bound."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

# Control characters and the marks that turn text around have no place in a name that others are shown.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LANGUAGE = re.compile(r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}$")
_PHONE = re.compile(r"^\+[1-9][0-9]{5,14}$")
# Nothing that means something in a header (RFC 5322, section 3.2.3), and no `?`: encoded words are made with it (RFC
# 2047), which are anything at all once they are read.
_EMAIL = re.compile(r'^[^@\s\x00-\x1f\x7f-\x9f()<>,;:"?\\\[\]]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$')
_SESSION = re.compile(r"^sess_[0-9a-f-]{36}$")
_PARTICIPANT = re.compile(r"^part_[0-9a-f-]{36}$")
# What is earlier or later is a mistake, and would not fit calculations with minutes around it.
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Body(BaseModel):
    """A request: types are not guessed, and what isn't known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


def _text(value: str) -> str:
    if _FORBIDDEN.search(value):
        raise ValueError("has a control character")
    value = value.strip()
    if not value:
        raise ValueError("is empty")
    return value


def _paragraph(value: str) -> str:
    if _FORBIDDEN.search(value.replace("\n", " ")):
        raise ValueError("has a control character")
    return value.strip()


def _matching(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """Says what was expected, where pydantic would only repeat the pattern; `_like` puts that into the schema."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def _like(pattern: str | re.Pattern[str], **more: Any) -> Any:
    text = pattern if isinstance(pattern, str) else pattern.pattern
    return Field(json_schema_extra={"pattern": text}, **more)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("expected a name of the IANA time zone database, such as Europe/Stockholm")
    return value


def _instant(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("expected a time between the years 2000 and 2200")
    # PostgreSQL and most languages keep microseconds; the zone is told apart, in `time_zone`.
    return value.astimezone(UTC)


def rfc3339(value: datetime) -> str:
    """`2026-02-01T09:30:00Z`, with milliseconds where there are any."""
    value = value.astimezone(UTC)
    value -= timedelta(microseconds=value.microsecond % 1000)
    return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")


Name = Annotated[str, _like(r"\S", max_length=200), AfterValidator(_text)]
# Looks for what has such an id; whatever else it is, nothing has it.
Id = Annotated[str, _like(r"\S", max_length=48), AfterValidator(_text)]
# Text of several lines; an empty one is as good as none.
Paragraph = Annotated[str, Field(max_length=1000), AfterValidator(_paragraph)]
Reason = Annotated[str, _like(r"\S", max_length=500), AfterValidator(_text)]
Language = Annotated[
    str, _like(_LANGUAGE, max_length=35), _matching(_LANGUAGE, "a BCP 47 language tag, such as sv or en-GB")
]
Phone = Annotated[str, _like(_PHONE, max_length=16), _matching(_PHONE, "a number as in E.164, such as +46701234567")]
Email = Annotated[str, _like(_EMAIL, max_length=254), _matching(_EMAIL, "an e-mail address")]
SessionId = Annotated[str, _like(_SESSION), _matching(_SESSION, "a session's id")]
ParticipantId = Annotated[str, _like(_PARTICIPANT), _matching(_PARTICIPANT, "a participant's id")]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Instant = Annotated[AwareDatetime, AfterValidator(_instant)]
Secret = Annotated[str, Field(min_length=1, max_length=200)]
# An optional field of an answer is there or not; only what the contract shows always is null when it is nothing.
MISSING = Field(default=None, exclude_if=lambda value: value is None)
Shown = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
