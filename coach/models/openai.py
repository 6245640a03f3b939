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

from coach.errors import ModelUnavailable
from coach.models import tokens
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, Completion, Delta, Loading, ModelOptions, Piece
from coach.models.endings import wordless
from coach.models.loading import beginning
from coach.models.openai_failures import BROKEN, TOO_LATE, Refused, Transient, read_refusal, send
from coach.models.openai_upstream import Pieces, Upstream
from coach.models.openai_wire import BROKEN_OFF
from coach.models.parameters import UNKNOWN_CONTEXT, Parameters, default_ceiling, sent_parameters
from coach.models.timeouts import PATIENT, Timeouts

_NO_KEY = "none"  # local endpoints want no key, the client insists on one
_LOOK_AGAIN = 1.0


class Retries(Struct, frozen=True):
    """Before the first token only. A wished-for wait beyond ``longest_retry_after`` ends the trying at once."""

    attempts: int = 3
    wait_initial: float = 0.25
    wait_max: float = 4.0
    wait_jitter: float = 0.25
    longest_retry_after: float = 10.0


PERSISTENT = Retries()


class OpenAIModel:
    """A ``ChatModel`` over ``POST {base_url}/chat/completions``; ``context_tokens`` default to LangChain's profile.

    ``may_load``: silence may be a model that is loading. It is waited out once, since asking anew starts the load anew.
    ``ceiling`` is the most tokens of an answer and the thoughts before it, where the caller asks for no other.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: SecretStr | None,
        base_url: str | None = None,
        timeouts: Timeouts = PATIENT,
        retries: Retries = PERSISTENT,
        context_tokens: int | None = None,
        ceiling: int | None = None,
        may_load: bool = False,
    ) -> None:
        self.name = name
        self._timeouts = timeouts
        self._retries = retries
        self._may_load = may_load
        self._parameters = Parameters()
        self._is_unopened = False  # whether its answers begin within their thoughts
        # Over aiohttp, whose parser is C: 40 us a chunk of a stream at 20 tokens a second where httpcore takes 80.
        # A client of its own: ChatOpenAI's default one is shared by address, and closing it would close the embedder's.
        self._http = openai.DefaultAioHttpClient(
            timeout=httpx2.Timeout(None, connect=timeouts.connect), follow_redirects=False
        )
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
        self.context_tokens = context_tokens or int(profile.get("max_input_tokens") or UNKNOWN_CONTEXT)
        self._ceiling = ceiling or default_ceiling(self.context_tokens, profile)
        tokens.encoding_for(name)

    def count_tokens(self, text: str) -> int:
        return tokens.count(text, self.name)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Piece, None]:
        written: list[str] = []
        async with AsyncExitStack() as opened:
            async with beginning(
                self._open(self._payload(messages, options), opened, is_ours=options.is_ours)
            ) as begun:
                if not begun.done():
                    yield Loading()
                upstream, pieces = await begun
            while pieces:
                for piece in pieces:
                    if isinstance(piece, Delta):
                        written.append(piece.text)
                    yield piece
                pieces = await upstream.read()
            self._is_unopened = upstream.is_unopened
            if not written:
                raise ModelUnavailable(wordless(upstream.reason))
            usage = upstream.usage or tokens.count_usage(messages, "".join(written), self.name)
            yield Completion(upstream.reason, usage, self.name)
            await upstream.drain()

    async def _open(self, payload: dict[str, Any], opened: AsyncExitStack, *, is_ours: bool) -> _Begun:
        """The answer with its first pieces, after as many attempts as it takes; ``opened`` closes it.

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
                return await self._attempt(payload, opened, deadline, is_ours=is_ours)
        raise AssertionError("the last attempt returns or raises")

    def _wait_before_retry(self, error: Exception) -> bool | float:
        if not isinstance(error, Transient):
            return False
        if error.retry_after is None:
            return True
        jitter = random.uniform(0, self._retries.wait_jitter)  # noqa: S311 - spreads clients, guards nothing
        return error.retry_after + jitter if error.retry_after <= self._retries.longest_retry_after else False

    async def _attempt(
        self, payload: dict[str, Any], opened: AsyncExitStack, deadline: float, *, is_ours: bool
    ) -> _Begun:
        """Ask until the endpoint takes the parameters and has loaded its model."""
        now = asyncio.get_running_loop().time()
        left_out = self._parameters.left_out
        try:
            async with asyncio.timeout_at(min(now + self._timeouts.first_token, deadline)) as clock:
                while True:
                    spelled = self._parameters.spell(payload, left_out, is_ours=is_ours)
                    try:
                        begun = await self._ask(spelled, opened, clock, deadline)
                    except Refused as refused:
                        more = self._parameters.refused(refused, spelled, is_ours=is_ours)
                        if not more and not refused.is_loading:
                            raise refused.translated() from None
                        left_out |= more
                        pause = refused.retry_after or 0.0
                        is_sensible = _LOOK_AGAIN <= pause <= self._retries.longest_retry_after
                        await asyncio.sleep(0 if more else pause if is_sensible else _LOOK_AGAIN)
                    else:
                        self._parameters.left_out |= left_out
                        return begun
        except TimeoutError:
            raise ModelUnavailable(TOO_LATE) if self._may_load else Transient(TOO_LATE) from None
        except BROKEN:
            raise Transient(BROKEN_OFF) from None

    async def _ask(
        self, payload: dict[str, Any], opened: AsyncExitStack, clock: asyncio.Timeout, deadline: float
    ) -> _Begun:
        """Through the openai client's own HTTP client, with its address and headers: its ``create`` walks through the
        payload by its types and its ``post`` through options and retries that are ours here, for 0.8 ms and 0.6 ms.

        :raises Refused: by its status, or within its stream
        """
        request = self._http.build_request(
            "POST", self._address, headers=self._headers, content=msgspec.json.encode(payload)
        )
        async with AsyncExitStack() as tried:
            response = await send(self._http, request)
            if not response.is_success:
                raise await read_refusal(response)
            tried.push_async_callback(response.aclose)
            chunks = response.aiter_bytes()
            tried.push_async_callback(chunks.aclose)
            upstream = Upstream(chunks, self._timeouts, deadline, is_unopened=self._is_unopened)
            pieces = await upstream.first(clock)
            opened.push_async_exit(tried.pop_all())
            return upstream, pieces

    def _payload(self, messages: Sequence[ChatMessage], options: ModelOptions) -> dict[str, Any]:
        given = sent_parameters(options, self._ceiling)
        stop = given.pop("stop", None)
        spoken = [(message.role, message.content) for message in messages]
        include_usage = {"include_usage": True}
        return self._chat._get_request_payload(spoken, stop=stop, stream=True, stream_options=include_usage, **given)


_Begun = tuple[Upstream, Pieces]
