"""The API's description: generated from the routes, completed with what a generator cannot see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json

from coach.errors import NotFound
from coach.http.catalogue import KINDS, Kind
from coach.http.declared import Declared, Form, Refusals
from coach.http.negotiation import JSON
from coach.public.documents import Document, answer, document
from coach.public.schema_page import render_page

Schema = dict[str, Any]

DESCRIPTION = (
    "A coach that answers from a person's own life. Send Authorization: Bearer <JWT>. Errors are RFC 9457 problem "
    "details; each type is documented at /problems. POST /api/chat speaks the AI SDK's UI message stream v1."
)
_STATUSES = {200: "Here it is.", 202: "It will be done.", 204: "Done, or nothing to do."}
_REFS = "#/components/schemas/{name}"


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Aurum Coach",
        version=version("aurum-coach"),
        description=DESCRIPTION,
        license=License(name="MIT"),
        path="/schema",
        use_handler_docstrings=True,
        security=[{"bearer": []}],
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
        # Named only so that the framework makes both addresses; ``serve`` answers in its place.
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, before_request=_server()),
    )


def _server() -> Callable[[Request[Any, Any, Any]], Response[bytes]]:
    """Answers ``/schema`` and ``/schema/openapi.json``: made once, where the framework renders for each request."""
    made: dict[str, Document] = {}

    def serve(request: Request[Any, Any, Any]) -> Response[bytes]:
        if not made:
            schema = complete(request.app)
            made["/schema"] = render_page(schema)
            made["/schema/openapi.json"] = document(encode_json(schema), OpenAPIMediaType.OPENAPI_JSON)
        if (found := made.get(request.scope["path_template"])) is None:
            raise NotFound("There is nothing at this address.")
        return answer(request, found)

    return serve


def complete(app: Litestar) -> Schema:
    """What the framework generates, with what the routes declare of themselves, and which of them need no token."""
    schema = app.openapi_schema.to_schema()
    found = list(_operations(schema, app))
    shapes = _shapes(schema, [handler for _, _, handler in found])
    for path, operation, handler in found:
        _complete(operation, handler, shapes)
        _readdress(schema["paths"], path, handler)
    return schema


def _operations(schema: Schema, app: Litestar) -> Iterator[tuple[str, Schema, HTTPRouteHandler]]:
    """Every described address with its handler."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path_format in schema["paths"]:
            for method, (handler, _) in route.route_handler_map.items():
                if operation := schema["paths"][route.path_format].get(method.lower()):
                    yield route.path_format, operation, handler


def declared(handler: HTTPRouteHandler) -> Declared:
    found: Declared = handler.opt.get("declared", Declared())
    return found


def refusals(handler: HTTPRouteHandler) -> Refusals:
    found: Refusals = handler.opt.get("refusals", Refusals())
    return found


def _shapes(schema: Schema, handlers: Sequence[HTTPRouteHandler]) -> dict[Any, Schema]:
    """The schema of every type that is declared; those with a name are put among the components."""
    kinds = {kind: None for handler in handlers for kind in _kinds(handler)}
    shapes, components = msgspec.json.schema_components(list(kinds), ref_template=_REFS)
    components["Problem"]["properties"]["type"]["enum"] = [f"/problems/{slug}" for slug in KINDS]
    for component in components.values():
        if "description" in component:
            component["description"] = component["description"].replace("``", "`")
    schema["components"].setdefault("schemas", {}).update(components)
    return dict(zip(kinds, shapes, strict=True))


def _kinds(handler: HTTPRouteHandler) -> list[Any]:
    told = declared(handler)
    return [*([told.body] if told.body else []), *(form.kind for form in told.answers), refusals(handler).kind]


def _complete(operation: Schema, handler: HTTPRouteHandler, shapes: Mapping[Any, Schema]) -> None:
    told, responses = declared(handler), operation["responses"]
    if told.body is not None:
        content = {JSON: {"schema": shapes[told.body], "example": told.example}}
        operation["requestBody"] = {"required": not told.is_optional, "content": content}
    if told.headers:
        headers = [_header(name, description) for name, description in told.headers.items()]
        operation["parameters"] = [*operation.get("parameters", []), *headers]
    if not handler.resolve_guards():
        operation["security"] = []
    answer = responses[str(handler.status_code)]
    answer["description"] = handler.response_description or _STATUSES.get(handler.status_code, answer["description"])
    if told.answers:
        answer["content"] = {form.media_type: _form(form, shapes[form.kind]) for form in told.answers}
    responses.pop("400", None)
    responses.update(_refused(handler, shapes))


def _header(name: str, description: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


def _form(form: Form, shape: Schema) -> Schema:
    described = shape if form.description is None else {**shape, "description": form.description}
    return {"schema": described} | ({} if form.example is None else {"example": form.example})


def _refused(handler: HTTPRouteHandler, shapes: Mapping[Any, Schema]) -> Schema:
    """What it may refuse, by status, and whatever else may go wrong. ``x-problems`` names them."""
    shared, by_status = refusals(handler), dict[str, list[Kind]]()
    for error in dict.fromkeys((*handler.opt.get("problems", ()), *declared(handler).problems)):
        kind = KINDS[error.slug]
        by_status.setdefault(str(shared.statuses.get(kind.status, kind.status)), []).append(kind)
    content = {shared.media_type: {"schema": shapes[shared.kind]}}
    answers: Schema = {
        status: {
            "description": " ".join(f"{kind.title}." for kind in kinds),
            "content": content,
            "x-problems": [kind.slug for kind in kinds],
        }
        for status, kinds in sorted(by_status.items())
    }
    return answers | {"default": {"description": shared.description, "content": content}}


def _readdress(paths: Schema, path: str, handler: HTTPRouteHandler) -> None:
    """Show a route that takes one value of a path parameter only under the address with that value."""
    address = declared(handler).address
    for method in (name.lower() for name in handler.http_methods if address):
        operation = paths[path].pop(method)
        operation["parameters"] = [each for each in operation["parameters"] if each["name"] not in address]
        paths.setdefault(path.format_map({**address}), {})[method] = operation
