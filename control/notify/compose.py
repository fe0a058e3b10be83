"""From what is so now to the text of one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_datetime

from .words import DEFAULT, WORDS, Words

# The order in which a unit's own texts follow in an e-mail.
SUBJECTS = ("fee", "preparation", "physical_visit")


@dataclass(frozen=True)
class About:
    """What a message is about.

    Attributes:
        kind: `invitation`, `reminder`, `moved` or `cancelled`.
        form: `video`, `phone` or `chat`.
        language: one of `WORDS`.
        link: the personal link; None where its secret isn't known any more.
        unit: what the care unit may be called; None where any name would tell something.
        texts: the unit's own, by subject and then by language.
    """

    kind: str
    form: str
    starts_at: datetime
    opens_at: datetime
    time_zone: str
    language: str
    link: str | None
    unit: str | None = None
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    """An e-mail's subject and text."""

    subject: str
    text: str


def letter(about: About) -> Letter:
    """Plain text: it is read out, enlarged and turned from right to left by whatever the reader has."""
    words = WORDS[about.language]
    said = {**_said(about, words), "when": _when(about.starts_at, about, words.day_year)}
    lead = words.leads[about.kind].format(**said)
    if about.unit:
        lead += "\n" + words.with_unit.format(unit=about.unit)
    parts = [words.hello, lead]
    if about.kind == "cancelled":
        parts.append(words.link_over)
    else:
        opens = words.by_phone if about.form == "phone" else words.opens.format(**said)
        if about.link is None:
            parts += [words.link_known, opens]
        else:
            parts += [f"{words.link}\n{about.link}", f"{opens}\n{words.personal}"]
        parts += _own(about)
    parts.append(words.foot)
    return Letter(words.subjects[about.kind].format(**_said(about, words)), "\n\n".join(parts) + "\n")


def short(about: About) -> str:
    """The text of an SMS: what and when, and the link on a line of its own, so that phones make it one to press."""
    words = WORDS[about.language]
    said = words.sms[about.kind].format(**_said(about, words))
    if about.unit:
        said += f" {about.unit}."
    if about.kind == "cancelled":
        return said
    if about.link is None:
        return f"{said} {words.sms_link_known}"
    return f"{said} {words.sms_link}\n{about.link}"


def _said(about: About, words: Words) -> dict[str, str]:
    return {
        "what": words.forms[about.form],
        "when": _when(about.starts_at, about, words.day),
        "at": _when(about.opens_at, about, words.time),
        "zone": about.time_zone,
    }


def _when(at: datetime, about: About, pattern: str) -> str:
    return format_datetime(at, pattern, tzinfo=ZoneInfo(about.time_zone), locale=about.language)


def _own(about: About) -> list[str]:
    found = []
    for subject in SUBJECTS:
        texts = about.texts.get(subject, {})
        text = texts.get(about.language) or texts.get(DEFAULT)
        if text:
            found.append(text)
    return found
