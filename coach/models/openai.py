"""Any OpenAI-compatible endpoint.

``ChatOpenAI`` holds the configuration, builds the payload and owns the client; the answer is read from that client's
raw stream, past LangChain's wrapper. Imports LangChain: not for the start of a process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import msgspec
import openai
import stamina
from langchain_openai import ChatOpenAI
from msgspec import Struct
from pydantic import SecretStr

from coach.models import tokens
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, Completion, Delta, ModelOptions, Piece
from coach.models.openai_failures import Transient, from_openai, refusal, sent
from coach.models.openai_upstream import PATIENT, Timeouts, Upstream
from coach.models.openai_wire import BROKEN_OFF

_UNKNOWN_CONTEXT = 16_384
_NO_KEY = "none"  # local endpoints want no key, the client insists on one


class Retries(Struct, frozen=True):
    """Before the first token only. A wished-for wait beyond ``longest_retry_after`` ends the trying at once."""

    attempts: int = 3
    wait_initial: float = 0.25
    wait_max: float = 4.0
    wait_jitter: float = 0.25
    longest_retry_after: float = 10.0


PERSISTENT = Retries()


class OpenAIModel:
    """A ``ChatModel`` over ``POST {base_url}/chat/completions``; ``context_tokens`` default to LangChain's profile."""

    def __init__(
        self,
        name: str,
        *,
        api_key: SecretStr | None,
        base_url: str | None = None,
        timeouts: Timeouts = PATIENT,
        retries: Retries = PERSISTENT,
        context_tokens: int | None = None,
    ) -> None:
        self._name = name
        self._timeouts = timeouts
        self._retries = retries
        self._rejected: frozenset[str] = frozenset()
        # Over aiohttp, whose parser is C: 40 us a chunk of a stream at 20 tokens a second where httpcore takes 80.
        # A client of its own: ChatOpenAI's default one is shared by address, and closing it would close the embedder's.
        self._http = openai.DefaultAioHttpClient(timeout=httpx2.Timeout(None, connect=timeouts.connect))
        self._chat = ChatOpenAI(
            model=name,
            api_key=api_key or SecretStr(_NO_KEY),
            base_url=base_url,
            http_async_client=self._http,
            timeout=None,
            max_retries=0,
            stream_usage=True,
            use_responses_api=False,
        )
        client = self._chat.root_async_client
        self._address = f"{str(client.base_url).rstrip('/')}/chat/completions"
        headers = client.default_headers | client.auth_headers
        self._headers = {name: value for name, value in headers.items() if isinstance(value, str)}
        profile: Mapping[str, Any] = self._chat.profile or {}
        self._context_tokens = context_tokens or int(profile.get("max_input_tokens") or _UNKNOWN_CONTEXT)
        tokens.encoding_for(name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def count_tokens(self, text: str) -> int:
        return tokens.count(text, self._name)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Piece, None]:
        upstream, text = await self._open(self._payload(messages, options))
        written: list[str] = []
        try:
            while text:
                written.append(text)
                yield Delta(text)
                text = await upstream.read()
            usage = upstream.usage or tokens.count_usage(messages, "".join(written), self._name)
            yield Completion(upstream.reason, usage, self._name)
            await upstream.drain()
        finally:
            await upstream.aclose()

    async def _open(self, payload: dict[str, Any]) -> tuple[Upstream, str]:
        """The answer with its first text, after as many attempts as it takes.

        :raises ModelUnavailable: the last attempt's
        """
        deadline = asyncio.get_running_loop().time() + self._timeouts.total
        retries = self._retries
        async for attempt in stamina.retry_context(
            on=self._wait_before_retry,
            attempts=retries.attempts,
            timeout=self._timeouts.total,
            wait_initial=retries.wait_initial,
            wait_max=retries.wait_max,
            wait_jitter=retries.wait_jitter,
        ):
            with attempt:
                return await self._attempt(payload, deadline)
        raise AssertionError("the last attempt returns or raises")

    def _wait_before_retry(self, error: Exception) -> bool | float:
        if not isinstance(error, Transient):
            return False
        if error.retry_after is None:
            return True
        jitter = random.uniform(0, self._retries.wait_jitter)  # noqa: S311 - spreads clients, guards nothing
        return error.retry_after + jitter if error.retry_after <= self._retries.longest_retry_after else False

    async def _attempt(self, payload: dict[str, Any], deadline: float) -> tuple[Upstream, str]:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + self._timeouts.first_token, deadline)) as clock:
                async with AsyncExitStack() as opened:
                    response = await self._send(payload, opened)
                    chunks = response.aiter_bytes()
                    opened.push_async_callback(chunks.aclose)
                    upstream = Upstream(chunks, self._timeouts, deadline)
                    text = await upstream.first(clock)
                    upstream.own(opened.pop_all())
                    return upstream, text
        except TimeoutError:
            raise Transient("The language model did not answer in time; try again.") from None
        except openai.APIError as error:
            raise from_openai(error) from None
        except httpx2.HTTPError:
            raise Transient(BROKEN_OFF) from None

    async def _send(self, payload: dict[str, Any], opened: AsyncExitStack) -> httpx2.Response:
        """Post it. What this endpoint has once rejected is spelled otherwise from then on.

        Through the openai client's own HTTP client, with its address and headers: its ``create`` walks through the
        payload by its types and its ``post`` through options and retries that are ours here, for 0.8 ms and 0.6 ms.

        :raises openai.APIError: the endpoint refused, or cannot be reached
        """
        while True:
            request = self._http.build_request(
                "POST", self._address, headers=self._headers, content=msgspec.json.encode(self._spelled(payload))
            )
            response = await sent(self._http, request)
            if response.is_success:
                opened.push_async_callback(response.aclose)
                return response
            error = await refusal(response)
            rejected = _rejected_parameter(error, self._spelled(payload))
            if rejected is None:
                raise error
            self._rejected |= {rejected}

    def _payload(self, messages: Sequence[ChatMessage], options: ModelOptions) -> dict[str, Any]:
        given = msgspec.to_builtins(options)
        stop = given.pop("stop", None)
        spoken = [(message.role, message.content) for message in messages]
        include_usage = {"include_usage": True}
        return self._chat._get_request_payload(spoken, stop=stop, stream=True, stream_options=include_usage, **given)

    def _spelled(self, payload: dict[str, Any]) -> dict[str, Any]:
        spelled = {name: value for name, value in payload.items() if name not in self._rejected}
        if "max_completion_tokens" in self._rejected and "max_completion_tokens" in payload:
            spelled["max_tokens"] = payload["max_completion_tokens"]
        return spelled


def _rejected_parameter(error: openai.APIStatusError, sent: Mapping[str, Any]) -> str | None:
    """Older endpoints reject these two parameters. Nothing else may be left out silently."""
    if error.status_code not in (400, 422):
        return None
    told = f"{error.param} {error.message}"
    return next((name for name in ("stream_options", "max_completion_tokens") if name in told and name in sent), None)
