"""/openapi.json, made from the route table and the models: it can't say anything else than the code does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ..visits.refused import PROBLEMS
from .caller import ACTOR_HEADER, Scope
from .idempotency import HEADER as IDEMPOTENCY_HEADER
from .problems import CONTENT_TYPE
from .routing import Route

_REF = "#/components/schemas/{model}"


def document(table: Iterable[Route], version: str, public_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    table = list(table)
    refs, schemas = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
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
    return refs, found.get("$defs", {})


def _operation(route: Route, refs: dict[tuple[Any, str], str]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        success["content"] = {"application/json": {"schema": {"$ref": refs[(route.answer, "serialization")]}}}
        for kind in route.kinds:
            success["content"][kind] = {"schema": {"type": "object" if kind.endswith("json") else "string"}}
    if route.method == "PATCH" or (route.answer is not None and "{" in route.path and not route.kinds):
        success["headers"] = {"ETag": {"schema": {"type": "string"}}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z]+', '_', route.path.removeprefix('/v1/')).strip('_')}",
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
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(ref_template=_REF)
        inner = schema.get("$defs", {})
        for name, one in schema.get("properties", {}).items():
            found.append({"name": name, "in": "query", "required": False, "schema": _inline(one, inner)})
    if _credentials(route) and route.method != "GET" and route.replays:
        found.append({"name": IDEMPOTENCY_HEADER, "in": "header", "required": False, "schema": {"type": "string"}})
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
        needed = route.method == "PATCH"
        found.append({"name": "If-Match", "in": "header", "required": needed, "schema": {"type": "string"}})
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


def _refusals(route: Route) -> dict[str, Any]:
    names = {*route.problems, "too-many-requests", "internal-error", "unavailable"}
    if _credentials(route):
        names |= {"not-authenticated", "not-allowed"}
        if route.anyone or route.hosts:
            names |= {"token-not-accepted", "session-replaced", "gone"}
        if route.method != "GET" and route.replays:
            names |= {"request-running", "idempotency-key-reused", "invalid-header"}
    if "{" in route.path:
        names.add("not-found")
    if route.body is not None:
        names |= {"invalid-body", "body-too-large"}
    if route.query is not None:
        names.add("invalid-query")
    if route.scope is Scope.ADMISSION:
        names.add("invalid-header")
    by_status: dict[int, list[str]] = {}
    for name in sorted(names):
        by_status.setdefault(PROBLEMS[name][0], []).append(name)
    return {
        str(status): {
            "description": ", ".join(by_status[status]),
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(by_status)
    }


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
