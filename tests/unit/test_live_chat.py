"""A room's chat: ids count once, seq grows, memory is bounded, and one is told again only what one had heard."""

from __future__ import annotations

import json

from vardrum.control.live.chat import ChatLog, Hearing


def test_seq_grows_by_line_and_over_restarts() -> None:
    before = ChatLog(now=1_000.0)
    last = [before.say("p", str(n), "x", 1_000.0).seq for n in range(5)][-1]
    assert before.last == last
    after = ChatLog(now=1_000.5)
    assert after.say("p", "0", "x", 1_000.5).seq > last


def test_a_line_is_found_by_who_said_it_and_its_id() -> None:
    log = ChatLog(now=0.0)
    line = log.say("p", "a", "x", 0.0)
    assert log.said("p", "a") is line
    assert log.said("q", "a") is None


def test_only_so_many_lines_are_kept_and_their_ids_with_them() -> None:
    log = ChatLog(now=0.0, kept=3)
    lines = [log.say("p", str(n), "x", 0.0) for n in range(5)]
    assert list(log.after(0)) == lines[2:]
    assert list(log.after(lines[3].seq)) == lines[4:]
    assert log.said("p", "1") is None
    assert log.said("p", "2") is lines[2]


def test_a_line_goes_out_with_its_time_and_to_only_where_it_was_said_to_somebody() -> None:
    log = ChatLog(now=1.0)
    assert json.loads(log.say("p", "a", "x", 1.5).message) == {
        "type": "chat", "seq": 1000, "id": "a", "participant": "p", "text": "x", "at": "1970-01-01T00:00:01.500Z"
    }  # fmt: skip
    assert json.loads(log.say("p", "b", "x", 1.5, to="q").message)["to"] == "q"


def test_one_hears_while_admitted_and_not_between() -> None:
    hearing = Hearing()
    assert not hearing.heard(1)
    hearing.open(10)
    hearing.open(12)  # told twice, it is still one stretch
    assert [hearing.heard(seq) for seq in (10, 11, 99)] == [False, True, True]
    hearing.close(20)
    hearing.close(30)
    assert [hearing.heard(seq) for seq in (20, 21)] == [True, False]
    hearing.open(30)
    assert [hearing.heard(seq) for seq in (15, 25, 31)] == [True, False, True]


def test_being_held_over_and_over_costs_no_memory() -> None:
    hearing = Hearing()
    for seq in range(0, 2000, 2):
        hearing.open(seq)
        hearing.close(seq + 1)
    assert hearing.heard(1999)
    assert not hearing.heard(1)
