"""/openapi.json, made from the route table and the models: it can't say anything else than the code does."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ..visits.refused import PROBLEMS
from .caller import ACTOR_HEADER, Scope
from .idempotency import HEADER as IDEMPOTENCY_HEADER
from .idempotency import KEY as IDEMPOTENCY_KEY
from .problems import CONTENT_TYPE
from .routing import Route

_NAMES = re.compile(r"{(\w+)}")
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Path parameters that are ids of ours begin with what they are of (CONTRACT, HTTP).
_IDS = {
    name: {"type": "string", "pattern": f"^{name}_{_UUID}$"} for name in ("room", "part", "sess", "evt", "hook", "key")
}
# What a refusal says by headers beside its document (`problems.response`).
_SAYS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_REF = "#/components/schemas/{model}"


def document(table: Iterable[Route], version: str, public_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    table = list(table)
    refs, schemas = _schemas(table)
    # What can be patched has versions, and says its own wherever it is shown.
    versioned = {route.answer for route in table if route.method == "PATCH"}
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        operation = _operation(route, refs, versioned)
        if links := _links(route, table):
            operation["responses"][str(route.status)]["links"] = links
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vardrum", "version": version},
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _problem(public_url)},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key (vrk_…) with the scope named."},
                "host": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admitted host's session token (vrs_…).",
                },
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The session token (vrs_…) of anyone in the room.",
                },
                "staff": {"type": "http", "scheme": "bearer", "description": "A staff token (vrt_…)."},
            },
        },
    }


def _schemas(table: list[Route]) -> tuple[dict[tuple[Any, str], str], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for route in table:
        if route.body is not None:
            wanted[(route.body, "validation")] = None
        if route.answer is not None:
            wanted[(route.answer, "serialization")] = None
    keys, found = models_json_schema(list(wanted), ref_template=_REF)
    refs: dict[tuple[Any, str], str] = {(model, mode): schema["$ref"] for (model, mode), schema in keys.items()}
    schemas = found.get("$defs", {})
    for schema in schemas.values():
        for one in schema.get("properties", {}).values():
            # Null as a default says only that the field may be missing, which `required` says already.
            if one.get("default", ...) is None:
                del one["default"]
    return refs, schemas


def _id_of(route: Route) -> str:
    return f"{route.method.lower()}_{re.sub(r'[^a-z]+', '_', route.path.removeprefix('/v1/')).strip('_')}"


def _links(route: Route, table: list[Route]) -> dict[str, Any]:
    """What can be called with what this route answers (OpenAPI, "Link Object").

    Read from the addresses: an answer of `/v1/things` with an `id`, or a list of such, leads to all of
    `/v1/things/{thing}…`; an answer that lists its `parts` leads to `…/{thing}/parts/{part}…` as well.
    """
    if route.answer is None:
        return {}
    fields = route.answer.model_fields
    # What path parameter comes from where; those that this route has itself are handed on.
    known = {name: f"$request.path.{name}" for name in _NAMES.findall(route.path)}
    below = route.path + "/{"
    told = "#/items/0/id" if "items" in fields else "#/id" if "id" in fields else None
    links: dict[str, Any] = {}
    for other in table:
        if told is None or not other.path.startswith(below):
            continue
        mine, *rest = [name for name in _NAMES.findall(other.path) if name not in known]
        parameters = {**known, mine: "$response.body" + told}
        if rest:
            lists = re.match(re.escape(f"{below}{mine}}}/") + r"(\w+)/{" + rest[0] + "}", other.path)
            if len(rest) > 1 or lists is None or lists[1] not in fields:
                continue
            parameters[rest[0]] = f"$response.body#/{lists[1]}/0/id"
        elif other.method == "PATCH" and other.path == f"{below}{mine}}}" and told == "#/id":
            parameters["header.If-Match"] = "$response.header.ETag"
        links[_id_of(other)] = {"operationId": _id_of(other), "parameters": parameters}
    for other in table:
        for secret in ("embed_token", "resume"):
            if secret in fields and other.body is not None and secret in other.body.model_fields:
                body = {secret: f"$response.body#/{secret}"}
                links[f"{_id_of(other)}_by_{secret}"] = {"operationId": _id_of(other), "requestBody": body}
    return links


def _operation(route: Route, refs: dict[tuple[Any, str], str], versioned: Collection[Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        success["content"] = {"application/json": {"schema": {"$ref": refs[(route.answer, "serialization")]}}}
        for kind in route.kinds:
            success["content"][kind] = {"schema": {"type": "object" if kind.endswith("json") else "string"}}
    if route.answer is not None and route.answer in versioned:
        success["headers"] = _headers("ETag", *(["Location"] if route.status == 201 else []))
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _id_of(route),
        "parameters": _parameters(route),
        "responses": {str(route.status): success, **_refusals(route)},
    }
    operation["security"] = [{name: []} for name in _credentials(route)]
    if route.scope is not None:
        operation["x-scope"] = str(route.scope)
    if route.body is not None:
        kind = "application/merge-patch+json" if route.method == "PATCH" else "application/json"
        schema = {"$ref": refs[(route.body, "validation")]}
        operation["requestBody"] = {"required": not route.body_optional, "content": {kind: {"schema": schema}}}
    return operation


def _credentials(route: Route) -> list[str]:
    """By their names under `securitySchemes`: any of these will do."""
    if route.anyone:
        return ["session"]
    return [
        *(["key"] if route.scope is not None else []),
        *(["host"] if route.hosts else []),
        *(["staff"] if route.hosts or route.staff else []),
    ]


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _IDS.get(name, {"type": "string", "minLength": 1})}
        for name in _NAMES.findall(route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(ref_template=_REF)
        inner = schema.get("$defs", {})
        for name, one in schema.get("properties", {}).items():
            found.append({"name": name, "in": "query", "required": False, "schema": _inline(one, inner)})
    if _credentials(route) and route.method != "GET" and route.replays:
        schema = {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"}
        found.append({"name": IDEMPOTENCY_HEADER, "in": "header", "required": False, "schema": schema})
    if route.scope is Scope.ADMISSION:
        note = "Required with an API key: base64url of JSON {id, name, care_unit?}."
        found.append(
            {
                "name": ACTOR_HEADER,
                "in": "header",
                "required": False,
                "description": note,
                "schema": {"type": "string"},
            }
        )
    if route.method == "PATCH" or route.if_match:
        needed, schema = route.method == "PATCH", {"type": "string", "pattern": r'^(\*|"[0-9]{1,9}")$'}
        found.append({"name": "If-Match", "in": "header", "required": needed, "schema": schema})
    return found


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Query schemas stand alone: references into their own definitions are replaced by what they mean."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inline(one, definitions) for one in schema]
    return schema


def refusals(route: Route) -> set[str]:
    """The names of all problems that this route may answer with."""
    names = {*route.problems, "too-many-requests", "internal-error", "unavailable"}
    if _credentials(route):
        names |= {"not-authenticated", "not-allowed"}
        if route.anyone or route.hosts:
            names |= {"token-not-accepted", "session-replaced", "gone"}
        if route.method != "GET" and route.replays:
            names |= {"request-running", "idempotency-key-reused", "invalid-header"}
        # What a session's token is refused for; it is looked up before it is known whether it would do here.
        names |= {"token-not-accepted", "session-replaced", "gone"}
    if "{" in route.path:
        names.add("not-found")
    if route.body is not None:
        names |= {"invalid-body", "body-too-large"}
    if route.query is not None:
        names.add("invalid-query")
    if route.scope is Scope.ADMISSION:
        names.add("invalid-header")
    return names


def _refusals(route: Route) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for name in sorted(refusals(route)):
        by_status.setdefault(PROBLEMS[name][0], []).append(name)
    return {
        str(status): {
            "description": ", ".join(by_status[status]),
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": _headers(*_SAYS[status])} if status in _SAYS else {}),
        }
        for status in sorted(by_status)
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"required": True, "schema": {"type": "string"}} for name in names}


def _problem(public_url: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457. Some types carry further members, such as `sessions` or `opens_at`.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [f"{public_url}/problems/{name}" for name in PROBLEMS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                },
            },
        },
    }
