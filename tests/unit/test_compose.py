"""What messages say, in every language and of every kind."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from vardrum.control.notify.compose import About, letter, short
from vardrum.control.notify.template import BadTemplate, Template
from vardrum.control.notify.words import WORDS, language
from vardrum.control.visits.messages import Kind
from vardrum.control.visits.values import Form

AT = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
LINK = "https://video.example.org/j/north#abcdefghijklmnopqrstuv"


def about(**fields: Any) -> About:
    given = {"kind": "invitation", "form": "video", "language": "sv", "link": LINK, **fields}
    return About(starts_at=AT, opens_at=AT - timedelta(minutes=15), time_zone="Europe/Stockholm", **given)


@pytest.mark.parametrize("tongue", WORDS)
@pytest.mark.parametrize("kind", [str(one) for one in Kind])
@pytest.mark.parametrize("form", get_args(Form))
def test_every_message_has_its_time_and_its_link_and_nothing_left_to_fill_in(tongue: str, kind: str, form: str) -> None:
    one = about(language=tongue, kind=kind, form=form, unit="Region North")
    mail, sms = letter(one), short(one)
    for text in (mail.subject, mail.text, sms):
        assert "10:00" in text.replace("10.00", "10:00")
        assert [name for _, name, _, _ in string.Formatter().parse(text) if name is not None] == []
    for text in (mail.text, sms):
        assert (LINK in text) == (kind != "cancelled")
        assert "Region North" in text
    assert "\n" not in mail.subject


@pytest.mark.parametrize("tongue", WORDS)
def test_an_sms_is_short_enough_for_three_parts(tongue: str) -> None:
    # RFC-less but so: 153 characters of GSM 03.38 a part, 67 where there are others, such as Arabic's.
    for kind in Kind:
        text = short(about(language=tongue, kind=str(kind)))
        assert len(text) <= 3 * (67 if tongue == "ar" else 153), text


def test_a_link_stands_on_a_line_of_its_own() -> None:
    assert LINK in letter(about(language="ar")).text.splitlines()
    assert LINK in short(about(language="ar")).splitlines()


def test_a_units_own_texts_come_in_the_mail_in_ones_language_or_swedish() -> None:
    texts = {
        "physical_visit": {"sv": "Du kan komma till oss i stället.", "en": "You may come to us instead."},
        "fee": {"sv": "Besöket kostar 200 kronor."},
    }
    mail = letter(about(language="en", texts=texts)).text
    assert mail.index("200 kronor") < mail.index("You may come to us instead.")
    assert "Du kan komma" not in mail
    assert "kronor" not in letter(about(kind="cancelled", texts=texts)).text
    assert "kronor" not in short(about(texts=texts))


def test_the_time_is_that_of_the_rooms_zone() -> None:
    one = About("invitation", "video", AT, AT, "America/New_York", "en", LINK)
    assert "at 04:00 (America/New_York)" in letter(one).text


def test_the_language_is_the_first_that_there_are_words_in() -> None:
    assert language("so", "fi-FI") == "fi"
    assert language(None, "EN") == "en"
    assert language("so", "so") == "sv"


def test_a_template_is_filled_after_it_is_read() -> None:
    values = {"to": "+467", "text": 'a "quoted" {to}\n{id}', "id": "msg_1"}
    filled = Template("json", '{"a": [{"b": "x{text}y"}], "n": 1, "{to}": "{to}{other}"}').filled(values)
    assert filled == {"a": [{"b": 'xa "quoted" {to}\n{id}y'}], "n": 1, "{to}": "+467{other}"}
    form = Template("form", "to={to}&text={text}%26more").filled({**values, "text": "a&to=b"})
    assert form == [["to", "+467"], ["text", "a&to=b&more"]]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (Template("json", "{to} {text}"), "isn't JSON"),
        (Template("json", '{"to": "{to}"}'), r"lacks \{text\}"),
        (Template("form", "{to}{text}"), "isn't a form"),
    ],
)
def test_a_template_that_sends_nothing_is_refused(template: Template, says: str) -> None:
    with pytest.raises(BadTemplate, match=says):
        template.parsed()
