"""What ``POST /v1/chat/completions`` and ``POST /v1/responses`` take. Fields that are not named are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, field

from coach.http.shapes import shown_as
from coach.openai_api.messages import Message, NotServed
from coach.openai_api.models import MODELS

MOST_TOKENS = 8_192
MOST_STOPS = 4


class StreamOptions(Struct):
    include_usage: bool | None = None


class Metadata(Struct):
    conversation_id: Annotated[str, Meta(description="Where the turn is stored.")] | None = None


_Stream = Annotated[bool | None, Meta(description="Whether the answer comes as a stream; nothing else decides.")]
_Length = Annotated[int | None, Meta(description=f"At most {MOST_TOKENS:,}; 0 and less mean: no wish.")]


class CommonBody(Struct, kw_only=True):
    """OpenAI's. What is not listed is ignored."""

    model: Annotated[str, Meta(extra_json_schema={"enum": list(MODELS)})]
    stream: _Stream = None
    temperature: Annotated[float | None, Meta(description="Brought between 0 and 2.")] = None
    top_p: Annotated[float | None, Meta(description="Brought between 0 and 1.")] = None
    metadata: Annotated[dict[str, Any], shown_as(Metadata)] | None = None
    tools: NotServed = None
    tool_choice: NotServed = None
    top_logprobs: NotServed = None


class CompletionBody(CommonBody, kw_only=True):
    """OpenAI's. What is not listed is ignored."""

    messages: Annotated[list[Message], Meta(description="Ends with the user's.", extra_json_schema={"minItems": 1})]
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Meta(extra_json_schema={"maxItems": MOST_STOPS})] | None = None
    seed: int | None = None
    max_tokens: _Length = None
    max_completion_tokens: _Length = None
    n: NotServed = None
    logprobs: NotServed = None
    audio: NotServed = None
    modalities: NotServed = None
    functions: NotServed = None
    function_call: NotServed = None
    response_format: NotServed = None


class ConversationName(Struct):
    id: str


class TextForm(Struct):
    format: NotServed = None


INPUT: Any = str | list[Message] | None


class ResponseBody(CommonBody, kw_only=True):
    """OpenAI's. What is not listed is ignored."""

    input: Annotated[Raw, shown_as(INPUT)] = field(default_factory=lambda: Raw(b"null"))
    instructions: Annotated[str | None, Meta(description="Read as the user's data, like system messages.")] = None
    store: Annotated[bool | None, Meta(description="True if left out.")] = None
    max_output_tokens: _Length = None
    previous_response_id: Annotated[str | None, Meta(description="What was said up to it comes first.")] = None
    conversation: Annotated[str | ConversationName | None, Meta(description="What was said in it comes first.")] = None
    background: NotServed = None
    include: NotServed = None
    prompt: NotServed = None
    text: TextForm | None = None
