"""Refusals as problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from ..visits.refused import FieldError, Refused

CONTENT_TYPE = "application/problem+json"
# A body of wrong fields shouldn't make an answer many times its size.
MAX_ERRORS = 20


def document(refused: Refused, public_url: str) -> dict[str, Any]:
    """The members of RFC 9457, section 3.1, then `errors`, then what belongs to this type of problem."""
    found: dict[str, Any] = {
        "type": f"{public_url}/problems/{refused.name}",
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
    }
    if refused.errors:
        found["errors"] = [{"pointer": one.pointer, "detail": one.detail} for one in refused.errors[:MAX_ERRORS]]
    return {**found, **refused.extra}


def response(refused: Refused, public_url: str) -> web.Response:
    """The problem document as an answer, with what its status demands of headers."""
    answer = web.Response(
        status=refused.status,
        body=json.dumps(document(refused, public_url), ensure_ascii=False).encode(),
        content_type=CONTENT_TYPE,
    )
    if refused.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if refused.retry_after is not None:
        answer.headers["Retry-After"] = str(refused.retry_after)
    return answer


def of_http_exception(error: web.HTTPException) -> Refused | None:
    """What aiohttp itself refuses, in our words; None for what is no refusal (a redirect)."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Refused("body-too-large", "the body is larger than this server takes")
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Refused("method-not-allowed", f"expected {', '.join(sorted(error.allowed_methods))}")
    if error.status in (403, 404):  # 403: a folder of the pages
        return Refused("not-found", "there is nothing at this address")
    if error.status == 415:
        return Refused("invalid-body", "expected application/json")
    if error.status >= 500:
        return Refused("internal-error", "the request couldn't be answered")
    if error.status >= 400:
        return Refused("invalid-body", "the request can't be read")
    return None


def of_validation(error: ValidationError, name: str, base: str = "#") -> Refused:
    """What pydantic found, field by field; `name` is the problem's."""
    errors = [FieldError(base + _pointer(one["loc"]), _detail(one)) for one in error.errors(include_url=False)]
    where = {"invalid-body": "the body", "invalid-query": "the query", "invalid-header": "the header"}[name]
    return Refused(name, f"{where} doesn't fit its schema", errors=errors)


def _pointer(location: Sequence[str | int]) -> str:
    """A path as in RFC 6901, section 3."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1")[:100] for part in location)


def _detail(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message: str = error["msg"]
    return message[:1].lower() + message[1:]
