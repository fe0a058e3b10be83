"""The body of an HTTP request with places to fill in, as the settings have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

Format = Literal["json", "form"]


class BadTemplate(ValueError):
    """The message says what is wrong with it."""


@dataclass(frozen=True)
class Template:
    """The body of a request: `{to}`, `{text}` and `{id}` in its values are replaced."""

    format: Format
    body: str

    def parsed(self) -> Any:
        """JSON as it is, a form as pairs. Raises BadTemplate."""
        try:
            found = json.loads(self.body) if self.format == "json" else parse_qsl(self.body, strict_parsing=True)
        except ValueError:
            raise BadTemplate(
                f"isn't {'JSON' if self.format == 'json' else 'a form such as to={to}&text={text}'}"
            ) from None
        missing = [name for name in ("{to}", "{text}") if name not in json.dumps(found)]
        if missing:
            raise BadTemplate(f"lacks {' and '.join(missing)}")
        return found

    def filled(self, values: Mapping[str, str]) -> Any:
        """The body for one message. Placeholders are replaced after parsing: no text can become structure."""
        return _filled(self.parsed(), values)


def _filled(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        # In one pass: a text that has `{to}` in it stays as it is.
        pieces = part.split("{")
        return pieces[0] + "".join(_piece(piece, values) for piece in pieces[1:])
    if isinstance(part, dict):
        return {key: _filled(value, values) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_filled(value, values) for value in part]
    return part


def _piece(piece: str, values: Mapping[str, str]) -> str:
    name, brace, rest = piece.partition("}")
    return values[name] + rest if brace and name in values else "{" + piece
