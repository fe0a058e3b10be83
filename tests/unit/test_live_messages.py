"""Reading what clients say: whatever it is, it is a message or an `Unreadable`; and asyncapi.json agrees with both."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from vardrum.control.live import client_messages as heard
from vardrum.control.live import server_messages as said
from vardrum.control.live.asyncapi import document

EXAMPLES: list[dict[str, Any]] = [
    {"type": "hello", "token": "vrs_x", "device": {}},
    {
        "type": "hello",
        "token": "vrs_x",
        "device": {
            "memory": 0.5, "cores": 8, "mobile": True, "network": "4g", "save_data": False, "efficient": ["video/VP8"]
        },
        "last_chat": 1_800_000_000_000,
    },
    {"type": "ping", "id": 1},
    {"type": "ping", "id": "a"},
    {"type": "offer", "id": 1, "sdp": "v=0\r\n", "restart": False},
    {"type": "prepare", "id": 2, "sdp": "v=0\r\n"},
    {"type": "wishes", "show": [{"participant": "part_1", "source": "screen", "max_height": 720}], "pin": "part_1"},
    {"type": "wishes", "show": []},
    {"type": "muted", "source": "camera", "muted": True},
    {"type": "chat", "id": "x", "text": "hej \U0001f600"},
    {"type": "chat", "id": "x", "text": "hej", "to": "part_1"},
    {"type": "typing", "text": ""},
    {"type": "sharing", "on": True},
    {"type": "stats", "seconds": 2.0},
    {
        "type": "stats", "seconds": 2, "decoded": 81, "dropped": 3, "decode_ms": 11.5, "limitation": "cpu",
        "battery": 0.42, "pictures": 2, "height": 360, "codecs": ["video/VP8", "video/H264"]
    },
    {"type": "stats", "seconds": 0, "decode_ms": None, "limitation": None, "battery": None, "codecs": []},
    {"type": "hand", "raised": True},
    {"type": "help", "kind": "phone"},
    {"type": "leave"},
    *({"type": kind, "participant": "part_1", "session": "sess_1"} for kind in ("identify", "admit", "hold", "deny")),
    *({"type": kind, "participant": "part_1"} for kind in ("remove", "mute")),
    {"type": "identity", "participant": "part_1", "method": "document", "document_type": "passport"},
    *({"type": kind} for kind in ("lock", "unlock", "end")),
]  # fmt: skip


def schema(key: str) -> Draft202012Validator:
    described = document()["components"]
    return Draft202012Validator({**described["messages"][key]["payload"], "components": described})


def read(text: str) -> heard.Said | heard.Unreadable:
    try:
        return heard.read(text)
    except heard.Unreadable as refused:
        return refused


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_every_message_of_the_contract_is_read_and_described(example: dict[str, Any]) -> None:
    assert heard.read(json.dumps(example)).type == example["type"]
    assert list(schema(f"client_{example['type']}").iter_errors(example)) == []


def test_every_type_has_an_example_and_stands_in_asyncapi() -> None:
    types = {name for model in get_args(heard.Said) for name in get_args(model.model_fields["type"].annotation)}
    assert types == {example["type"] for example in EXAMPLES}
    described = document()
    assert {f"client_{name}" for name in types} <= set(described["components"]["messages"])
    for operation in described["operations"].values():
        for reference in operation["messages"]:
            key = reference["$ref"].removeprefix("#/channels/websocket/messages/")
            assert described["channels"]["websocket"]["messages"][key]["$ref"] == f"#/components/messages/{key}"
            assert key in described["components"]["messages"]


@given(st.text())
def test_whatever_text_comes_is_refused_in_one_way(text: str) -> None:
    with pytest.raises(heard.Unreadable):
        heard.read(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_message_with_any_value_anywhere_is_read_or_refused(example: dict[str, Any], data: st.DataObject) -> None:
    changed = dict(example)
    changed[data.draw(st.sampled_from([*example, "more"]))] = data.draw(JSON)
    result = read(json.dumps(changed))
    if isinstance(result, heard.Unreadable):
        assert len(result.detail) <= 300
        assert result.code in ("bad-message", "unknown-type")
    else:
        assert result.type == changed["type"]


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_mangled_text_is_read_or_refused(example: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(example)
    at = data.draw(st.integers(0, len(text)))
    mangled = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    result = read(mangled)
    assert not isinstance(result, heard.Unreadable) or result.re is None or isinstance(result.re, str | int)


def test_a_refusal_repeats_nothing_of_what_was_said() -> None:
    with pytest.raises(heard.Unreadable) as refused:
        heard.read('{"type": "chat", "id": "x", "text": {"number": "19121212-1212"}}')
    assert "1912" not in refused.value.detail


def test_what_is_optional_is_left_out_and_what_is_not_is_there() -> None:
    line = said.Chat(seq=1, id="a", participant="p", text="t", at="2026-01-01T00:00:00Z")
    assert "to" not in json.loads(line.encode())
    assert json.loads(said.Denied(reason=None).encode()) == {"type": "denied", "reason": None}
    change: dict[str, Any] = {"camera": {"width": 320}}
    assert json.loads(said.Send(**change).encode()) == {"type": "send", "camera": {"width": 320}}
