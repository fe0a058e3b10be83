"""asyncapi.json (AsyncAPI 3.0): the websocket, described from the same models that read and write its messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .client_messages import MESSAGE_LIMIT, AfterHello, Hello
from .server_messages import SAID

_SCHEMAS = "#/components/schemas/{model}"
_CHANNEL = "#/channels/websocket"

CLOSES = """Close codes: 4001 the same session said `hello` elsewhere; 4002 replaced, removed or ended (both: don't come
back); 4003 the token was not accepted (go to `POST /v1/sessions` with the resume secret); 4004 hostile; after anything
else, come back."""


def _types(model: type[BaseModel]) -> Sequence[str]:
    return get_args(model.model_fields["type"].annotation)


@cache
def document() -> dict[str, Any]:
    """The document, as JSON values; made once, never to be changed by the caller."""
    heard: list[type[BaseModel]] = [Hello, *get_args(AfterHello)]
    said: list[type[BaseModel]] = list(SAID)
    names, definitions = models_json_schema(
        [*((model, "validation") for model in heard), *((model, "serialization") for model in said)],
        ref_template=_SCHEMAS,
    )

    messages: dict[str, Any] = {}
    operations: dict[str, list[dict[str, str]]] = {"receive": [], "send": []}
    for action, models, mode in (("receive", heard, "validation"), ("send", said, "serialization")):
        for model in models:
            for kind in _types(model):
                # chat, typing and hand exist both ways, with different fields.
                key = f"{'client' if action == 'receive' else 'server'}_{kind}"
                messages[key] = {
                    "name": kind,
                    "summary": " ".join((model.__doc__ or "").split()),
                    "payload": names[(model, mode)],  # type: ignore[index]
                }
                operations[action].append({"$ref": f"{_CHANNEL}/messages/{key}"})

    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vardrum websocket",
            "version": "1",
            "description": "JSON text messages of at most "
            f"{MESSAGE_LIMIT // 1024} kB, permessage-deflate where the client offers it. The first is `hello`. "
            "Clients ignore fields and messages that they don't know. " + " ".join(CLOSES.split()),
        },
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {
                "address": "/v1/ws",
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "clientSays": {"action": "receive", "channel": {"$ref": _CHANNEL}, "messages": operations["receive"]},
            "serverSays": {"action": "send", "channel": {"$ref": _CHANNEL}, "messages": operations["send"]},
        },
        "components": {"messages": messages, "schemas": definitions["$defs"]},
    }
