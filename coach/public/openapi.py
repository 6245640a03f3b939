"""The API's description: generated from the routes, completed with what a generator cannot see."""

from __future__ import annotations

from copy import deepcopy
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Request
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme

from coach.chat.collected import FinishedTurn
from coach.chat.features import DEFAULT_FEATURE, FEATURES
from coach.conversations.description import describe_conversations
from coach.http.catalogue import KINDS
from coach.http.problems import MEDIA_TYPE, Problem
from coach.openai_api.description import describe as describe_v1
from coach.privacy.description import describe_preferences
from coach.public.examples import FINISHED_TURN, REQUEST, STREAM
from coach.public.schema_page import render_page
from coach.sessions.description import SESSION_COMMAND, describe_sessions

Schema = dict[str, Any]

DESCRIPTION = (
    "A coach that answers from a person's own life. Send Authorization: Bearer <JWT>. Errors are RFC 9457 problem "
    "details; each type is documented at /problems. POST /api/chat speaks the AI SDK's UI message stream v1."
)
_STATUSES = {"200": "Here it is.", "202": "It will be done.", "204": "Done, or nothing to do."}
_PUBLIC = ("/api/config", "/health/", "/metrics")


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
        render_plugins=(PagePlugin(), JsonPlugin()),
    )


class JsonPlugin(OpenAPIRenderPlugin):
    """``/schema/openapi.json``."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)

    def render(self, request: Request[Any, Any, Any], openapi_schema: Schema) -> bytes:
        return self.render_json(request, complete(openapi_schema))


class PagePlugin(OpenAPIRenderPlugin):
    """``/schema``: a plain page of our own, since the framework's fetch their scripts from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, _request: Request[Any, Any, Any], openapi_schema: Schema) -> bytes:
        return render_page(complete(openapi_schema)).encode()


def complete(generated: Schema) -> Schema:
    """Add the chat's body and stream, the problems, and which routes need no token."""
    schema = deepcopy(generated)
    _add_problem_schema(schema)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if not isinstance(operation, dict):
                continue
            operation["responses"].pop("400", None)
            for status, response in operation["responses"].items():
                response["description"] = _STATUSES.get(status, response["description"])
            operation["responses"]["default"] = _problem_response()
            if path.startswith(_PUBLIC):
                operation["security"] = []
    chat = schema["paths"]["/api/chat"]["post"]
    chat["requestBody"] = {"required": True, "content": {"application/json": {"schema": _BODY, "example": REQUEST}}}
    chat["parameters"] = [*chat.get("parameters", []), _IDEMPOTENCY_KEY]
    chat["responses"]["200"] = _answer(schema)
    chat["responses"]["429"] = _problem_response("Quota or rate: see quota-exhausted and rate-limited.")
    resumed = schema["paths"]["/api/chat/{conversation_id}/stream"]["get"]["responses"]
    resumed["200"] = {"description": "The stream from its start.", "content": {"text/event-stream": _STREAM}}
    resumed["204"] = {"description": "Nothing to resume."}
    describe_v1(schema)
    describe_conversations(schema)
    describe_preferences(schema)
    describe_sessions(schema)
    return schema


def _add_problem_schema(schema: Schema) -> None:
    _, components = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    components["Problem"]["properties"]["type"]["enum"] = [f"/problems/{slug}" for slug in KINDS]
    schema["components"].setdefault("schemas", {}).update(components)


def _problem_response(description: str = "A problem; its type says which.") -> Schema:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


_STREAM: Schema = {
    "schema": {"type": "string", "description": "Server-sent events: one JSON part a data: line, then [DONE]."},
    "example": STREAM,
}


def _answer(schema: Schema) -> Schema:
    (described,), components = msgspec.json.schema_components(
        [FinishedTurn], ref_template="#/components/schemas/{name}"
    )
    schema["components"]["schemas"].update(components)
    return {
        "description": "The answer: a UI message stream v1, or with Accept: application/json one object.",
        "headers": {"x-vercel-ai-ui-message-stream": {"schema": {"type": "string", "const": "v1"}}},
        "content": {
            "text/event-stream": _STREAM,
            "application/json": {"schema": described, "example": FINISHED_TURN},
        },
    }


_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._:~-]{1,128}$"}
_TEXT_PART: Schema = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string", "minLength": 1, "maxLength": 32_000}},
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {
        "id": _ID,
        "role": {"enum": ["system", "user", "assistant"]},
        "parts": {"type": "array", "items": _TEXT_PART},
    },
}
_BODY: Schema = {
    "type": "object",
    "description": "The AI SDK's request. Fields that are not listed are ignored.",
    "required": ["messages"],
    "properties": {
        "id": {**_ID, "description": "The conversation; one that does not exist yet is started."},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": _MESSAGE,
            "description": "The last one, of role user, is answered; of the others only the ids are looked at.",
        },
        "trigger": {"enum": ["submit-message", "regenerate-message"], "default": "submit-message"},
        "messageId": {**_ID, "description": "The id of the message that is edited."},
        "feature": {"enum": list(FEATURES), "default": DEFAULT_FEATURE},
        "model": {"type": "string", "description": "One of the models of GET /api/config."},
        "incognito": {"type": "boolean", "default": False, "description": "Leave this conversation out of memory."},
        "session": SESSION_COMMAND,
    },
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "A request with a key that was seen is a repeat: it gets the same answer and costs nothing.",
}
