"""What the table of faults calls survived."""

from __future__ import annotations

from vardrum.bench.load.faults import FAULTS, Outcome, header, judge, report, row


def test_a_fault_is_survived_when_all_are_there_hear_everything_and_others_come_in_again() -> None:
    well = Outcome(people=12, there=12, missing=0.0, meanwhile="", after="")
    assert judge("webhook receiver hangs", well) == []
    # Nothing can be booked on a full disk; where only a portal's server hangs it must.
    refused = Outcome(people=12, there=12, missing=0.0, meanwhile="booking: 503 unavailable", after="")
    assert judge("disk full", refused) == []
    assert judge("webhook receiver hangs", refused) == ["meanwhile: booking: 503 unavailable"]
    ill = Outcome(people=12, there=11, back=12.3, missing=0.01, after="no picture", problems=["x"])
    assert judge("disk full", ill) == [
        "x", "1 of 12 are gone", "the last was back after 12.3 s", "1.00% of the sound was missing",
        "afterwards: no picture",
    ]  # fmt: skip
    summary = report({"disk full": ill, "kill -9": well})
    assert summary.missed == ["disk full"]
    assert summary.figures["last back s, disk full"] == 12.3


def test_the_table_has_a_column_for_each_name() -> None:
    line = row("kill -9", Outcome(people=3, there=3, back=2.1), [])
    assert line[header().index("last back s") :].startswith("2.1 ")
    assert line.endswith("survived")
    assert all(len(name) <= 24 for name in FAULTS)
