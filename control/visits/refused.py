"""One way to say no: every refusal has a name, a status and a sentence for the developer who gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# name: (HTTP status, title). Problem types are `<public_url>/problems/<name>` (RFC 9457); over the websocket the name
# is the `code` of an `error`.
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "not-authenticated": (401, "Credentials are missing or not accepted"),
    "token-not-accepted": (401, "The secret or token is not accepted"),
    "not-allowed": (403, "These credentials don't allow this"),
    "not-found": (404, "There is no such thing here"),
    "no-phone": (404, "There is no phone number"),
    "method-not-allowed": (405, "This address doesn't take this method"),
    "external-ref-taken": (409, "Another live room has this external_ref"),
    "not-open-yet": (409, "The room isn't open yet"),
    "room-locked": (409, "The room is locked"),
    "room-full": (409, "The room is full"),
    "state-conflict": (409, "This doesn't fit the present state"),
    "identity-not-met": (409, "The identity that the room demands is missing"),
    "session-needed": (409, "Several arrivals: say which session"),
    "host-busy": (409, "The host is identifying somebody else"),
    "host-not-available": (409, "The host isn't in the room"),
    "request-running": (409, "The first request with this Idempotency-Key is still running"),
    "care-unit-needed": (409, "Several care units: say which one"),
    "function-off": (409, "The care unit has switched this off"),
    "gone": (410, "This is over"),
    "session-replaced": (410, "Another browser has taken this one's place"),
    "version-mismatch": (412, "It has changed since, or If-Match is missing"),
    "body-too-large": (413, "The body is too large"),
    "invalid-body": (422, "The body doesn't fit"),
    "invalid-query": (422, "The query doesn't fit"),
    "invalid-header": (422, "A header doesn't fit"),
    "idempotency-key-reused": (422, "This Idempotency-Key was used with another request"),
    "too-many-requests": (429, "Too many requests"),
    "internal-error": (500, "Something went wrong on our side"),
    "unavailable": (503, "Not available just now"),
}


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field; `pointer` is a JSON pointer (RFC 6901) as `#/a/b`."""

    pointer: str
    detail: str


class Refused(Exception):
    """Something that was asked for isn't done, and nothing has changed.

    Attributes:
        name: a key of `PROBLEMS`.
        status: the HTTP status.
        detail: what isn't met, for this request.
        errors: field by field, where fields are the matter.
        extra: further members of the problem document, such as `sessions` or `opens_at`.
        retry_after: seconds, for 429 and 503.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.status, self.title = PROBLEMS[name]
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = dict(extra or {})
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The name, as the websocket's `error` calls it."""
        return self.name


class TokenRefused(Refused):
    """A session token that isn't accepted.

    `name` is `token-not-accepted` (close code 4003: unknown, or renewed), `session-replaced` or `gone` (both 4002).
    """
