"""The OpenAPI of the REST API: what each endpoint answers, its errors, and who may ask.

Guarantees: the schemas of answers are made from the types that are answered (`gives`), so that they cannot differ;
errors of every endpoint are problem+json (RFC 9457).
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

TYPE = "x-type"  # stands for a schema until all types are known
_types: list[Any] = []
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:isthmus:", "description": "Stable; `urn:isthmus:CODE`."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong; never patient data."},
        "todo": {"type": "string", "description": "What to do about it."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Each with its place."},
    },
}


def gives(kind: Any, status: int = 200, what: str = "Done.", media: str = "application/json") -> Any:
    """For `responses=` of a route: it answers this type with this status."""
    _types.append(kind)
    content = {media: {"schema": {TYPE: len(_types) - 1}}}
    return {status: {"description": what, "content": content}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, routes=app.routes,
        description="What the console does, for programs. See docs/console.md.",
    )  # fmt: skip
    schemas, components = msgspec.json.schema_components(
        _types, ref_template="#/components/schemas/{name}Answer"
    )
    known = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    known |= {f"{name}Answer": schema for name, schema in components.items()} | {"Problem": PROBLEM}
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in found["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            answers.pop("422", None)
            for answer in answers.values():
                kinds = answer.get("content", {})
                for name, content in list(kinds.items()):
                    schema = content.get("schema", {})
                    if TYPE in schema:
                        content["schema"] = schemas[schema[TYPE]]
                    elif not schema and len(kinds) > 1:  # what FastAPI takes for granted
                        del kinds[name]
            for status, what in (("4XX", "Refused."), ("503", "Not now."), ("504", "Too slow.")):
                answers.setdefault(status, _problem(what))
            if path.startswith("/api/"):
                operation["security"] = [{"token": []}]
    return found


def _problem(what: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": what, "content": {"application/problem+json": {"schema": schema}}}
