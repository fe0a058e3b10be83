"""/v1/statistics: counts of a unit's visits, as JSON or as a table."""

from __future__ import annotations

import csv
import io
from typing import Annotated

from pydantic import Field

from ..visits.statistics import Ratings, Spread, Statistics, Tally
from .caller import Scope
from .fields import Body, Instant, Name, Shown, View
from .routing import Answer, Asked, Routes

routes = Routes()
CSV = "text/csv"


class SpreadView(View):
    """Of `count` durations; null where there are none."""

    count: int
    median_seconds: float | None
    p90_seconds: float | None


class TechnicalView(View):
    """Of visits by video to which somebody came: in how many it went wrong."""

    visits: int
    fallback_needed: int
    fallback_used: int
    no_media: int


class RatingsView(View):
    """Means of 1 (very bad) to 5 (very good), of whole groups of five answers only; null below five."""

    count: int
    technical: float | None
    visit: float | None


class TallyView(View):
    """`booked` is `held + no_shows + not_met + cancelled + pending`. Training counts nowhere."""

    booked: int
    held: int
    no_shows: int
    not_met: int
    cancelled: int
    pending: int
    video: int
    phone: int
    chat: int
    waiting: SpreadView
    waiting_after_start: SpreadView
    duration: SpreadView
    technical: TechnicalView
    ratings: RatingsView
    host_ratings: RatingsView


class UnitView(TallyView):
    care_unit: str


class StatisticsView(View):
    """Visits booked to begin in the period, by care unit and together."""

    begins: Annotated[Shown, Field(serialization_alias="from")]
    ends: Annotated[Shown, Field(serialization_alias="to")]
    units: list[UnitView]
    total: TallyView


class StatisticsQuery(Body):
    care_unit: Name | None = None
    begins: Annotated[Instant | None, Field(alias="from")] = None
    ends: Annotated[Instant | None, Field(alias="to")] = None


def _spread(spread: Spread) -> SpreadView:
    return SpreadView(count=spread.count, median_seconds=spread.median, p90_seconds=spread.p90)


def _ratings(ratings: Ratings) -> RatingsView:
    return RatingsView(count=ratings.count, technical=ratings.technical, visit=ratings.visit)


def _tally(tally: Tally) -> TallyView:
    same = ("booked", "held", "no_shows", "not_met", "cancelled", "pending")
    return TallyView(
        **{name: getattr(tally, name) for name in same},
        video=tally.forms["video"],
        phone=tally.forms["phone"],
        chat=tally.forms["chat"],
        waiting=_spread(Spread.of(tally.waited)),
        waiting_after_start=_spread(Spread.of(tally.late)),
        duration=_spread(Spread.of(tally.lasted)),
        technical=TechnicalView(
            visits=tally.video,
            fallback_needed=tally.needed,
            fallback_used=tally.used,
            no_media=tally.no_media,
        ),
        ratings=_ratings(Ratings.of(tally.ratings)),
        host_ratings=_ratings(Ratings.of(tally.host_ratings)),
    )


def _view(found: Statistics) -> StatisticsView:
    return StatisticsView(
        begins=found.period.begins,
        ends=found.period.ends,
        units=[UnitView(care_unit=name, **dict(_tally(tally))) for name, tally in found.units.items()],
        total=_tally(found.total),
    )


def table(view: StatisticsView) -> str:
    """RFC 4180, a row a unit: its name first, then numbers only.

    The name is the one cell that anybody can write. It is always quoted, and a spreadsheet never takes it for a
    formula: what begins like one gets an apostrophe, which spreadsheets read as "this is text". As the first cell of
    its line it stays one cell whatever a spreadsheet takes for the separator.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    rows = [_flat("", unit.model_dump(exclude={"care_unit"})) for unit in view.units]
    header = _flat("", view.total.model_dump())
    writer.writerow(["care_unit", "from", "to", *header])
    begins, ends = view.model_dump()["begins"], view.model_dump()["ends"]
    for unit, row in zip(view.units, rows, strict=True):
        writer.writerow([_plain(unit.care_unit), begins, ends, *row.values()])
    return text.getvalue()


def _flat(prefix: str, nested: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            found |= _flat(f"{prefix}{name}_", value)
        else:
            found[prefix + name] = value
    return found


def _plain(text: str) -> str:
    # Also what looks like these: spreadsheets normalise full-width signs, and pass over spaces before them.
    return f"'{text}" if text.lstrip()[:1] in "=+-@＝＋－﹢﹣−＠|%" else text


@routes.add("GET", "/v1/statistics", scope=Scope.REPORTS, query=StatisticsQuery, answer=StatisticsView, kinds=(CSV,))
async def statistics(asked: Asked) -> Answer:
    """Count the visits that were booked to begin in a period (the last 30 days, at most 366), by care unit."""
    query: StatisticsQuery = asked.query
    found = await asked.statistics.statistics(asked.tenant, query.care_unit, query.begins, query.ends)
    view = _view(found)
    if asked.kind == CSV:
        return Answer(table(view), 200, {"Vary": "Accept"}, CSV)
    return Answer(view, 200, {"Vary": "Accept"})
