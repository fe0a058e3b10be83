"""What an Accept header leads to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from vardrum.control.api.accept import preferred

OFFERED = ("application/json", "application/fhir+json", "text/csv")


@given(st.text(max_size=200) | st.text(alphabet="*/;,=q.0159 tex/csv+", max_size=60))
def test_whatever_is_said_leads_to_something_that_is_offered(accept: str) -> None:
    assert preferred(accept, OFFERED) in OFFERED


def test_the_most_exact_range_counts() -> None:
    assert preferred(None, OFFERED) == "application/json"
    assert preferred("text/*", OFFERED) == "text/csv"
    assert preferred("application/*, text/csv;q=0.9", OFFERED) == "application/json"
    assert preferred("application/*;q=0.2, text/csv;q=0.9", OFFERED) == "text/csv"
    assert preferred("*/*, application/json;q=0", OFFERED) == "application/fhir+json"
    assert preferred("text/csv;header=present;q=1.0", OFFERED) == "text/csv"
