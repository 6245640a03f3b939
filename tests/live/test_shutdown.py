"""``coach serve`` as a process: it drains, it comes back, and it says in one line what is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial

import httpx
import psutil
import pytest

from coach.testing.stub_script import Answer, Stall
from tests.live.conftest import eventually, until
from tests.live.processes import run_coach

BODY = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}


@pytest.fixture
def provider(model_stub):
    """The environment of a server that asks the stub."""
    return {
        "COACH_OPENAI_BASE_URL": model_stub.url,
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": "stub",
        "COACH_EMBEDDING_MODEL": "wordllama",
    }


@pytest.fixture
async def headers(new_user, token_for):
    return {"authorization": f"Bearer {token_for(await new_user())}"}


async def reading(url, headers, body=BODY):
    """The whole stream of one question, and the moment at which it began."""
    began = asyncio.Event()

    async def read():
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", f"{url}/api/chat", json=body, headers=headers) as response,
        ):
            text = ""
            async for piece in response.aiter_text():
                text += piece
                if "text-delta" in text:
                    began.set()
            return text

    task = asyncio.create_task(read())
    await asyncio.wait_for(began.wait(), 20)
    return task


async def status_in_database(owner, user_token_rows="assistant"):
    rows = await owner.execute(
        "select status, message_content from ai_conversation_memory where message_role = %s", (user_token_rows,)
    )
    return await rows.fetchall()


async def test_a_running_turn_is_finished_before_the_server_goes(start_server, provider, model_stub, headers, owner):
    model_stub.always(Answer(tokens=30, rate=15))
    server = start_server(**provider)
    answer = await reading(server.url, headers)

    code = await asyncio.to_thread(server.stop, signal.SIGTERM)

    assert code == 0
    assert '"finish"' in await answer
    assert ("complete", model_stub_text(30)) in await status_in_database(owner)


def model_stub_text(tokens):
    return "".join(Answer(tokens=tokens).pieces)


async def test_after_the_grace_the_rest_is_interrupted_and_stored(start_server, provider, model_stub, headers, owner):
    model_stub.always(Stall(after=5))
    server = start_server(COACH_DRAIN_GRACE="0.5", **provider)
    answer = await reading(server.url, headers)

    code = await asyncio.to_thread(server.stop, signal.SIGTERM)

    assert code == 0
    assert '"type":"abort"' in await answer
    assert ("interrupted", model_stub_text(5)) in await status_in_database(owner)
    await model_stub.until(lambda stub: stub.open_connections == 0)


async def test_a_turn_whose_reader_left_is_finished_as_well(start_server, provider, model_stub, headers, owner):
    model_stub.always(Answer(tokens=31, rate=15))
    server = start_server(**provider)
    answer = await reading(server.url, headers)
    answer.cancel()
    await asyncio.wait([answer])

    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0

    assert ("complete", model_stub_text(31)) in await status_in_database(owner)


async def test_a_draining_server_takes_no_new_requests(start_server, provider, model_stub, headers):
    model_stub.always(Answer(tokens=30, held_after=3))
    server = start_server(**provider)
    answer = await reading(server.url, headers)
    server.process.send_signal(signal.SIGTERM)
    await eventually(partial(refuses, server.url))
    assert not answer.done()

    model_stub.go_on()
    assert '"finish"' in await answer


async def refuses(url):
    """Whether nobody listens there any more."""
    async with httpx.AsyncClient(timeout=30) as client:
        try:
            await client.get(f"{url}/health/live")
        except httpx.ConnectError:
            return True
    return False


async def test_a_second_ctrl_c_does_not_wait(start_server, provider, model_stub, headers):
    model_stub.always(Stall(after=2))
    server = start_server(COACH_DRAIN_GRACE="60", **provider)
    answer = await reading(server.url, headers)
    server.process.send_signal(signal.SIGINT)
    await eventually(partial(refuses, server.url))
    assert server.process.poll() is None

    code = await asyncio.wait_for(asyncio.to_thread(server.stop, signal.SIGINT), 30)

    assert code == 0
    await asyncio.wait([answer])


async def test_a_dead_sibling_is_replaced_and_all_leave_together(start_server, headers):
    server = start_server(workers=2)
    first = {line["pid"] for line in server.lines("serving")}
    assert len(first) == 2

    os.kill(min(first), signal.SIGKILL)
    await asyncio.to_thread(until, lambda: len(server.lines("serving")) == 3)
    async with httpx.AsyncClient(base_url=server.url) as client:
        for _ in range(10):
            assert (await client.get("/health/ready")).status_code == 200
    code = await asyncio.to_thread(server.stop, signal.SIGTERM)

    assert code == 0
    assert server.lines("server_process_died")[0]["pid"] == min(first)
    assert not any(psutil.pid_exists(line["pid"]) for line in server.lines("serving"))


async def test_ctrl_c_in_a_terminal_reaches_siblings_once(start_server, provider, model_stub, headers):
    """The terminal signals the whole group; a second signal would mean: do not wait."""
    model_stub.always(Answer(tokens=30, rate=15))
    server = start_server(workers=2, **provider)
    answer = await reading(server.url, headers)
    assert all(os.getpgid(line["pid"]) == line["pid"] for line in server.lines("serving"))

    os.killpg(server.process.pid, signal.SIGINT)

    assert await asyncio.to_thread(server.process.wait, 40) == 0
    assert '"finish"' in await answer


async def test_a_head_without_end_is_cut_off(start_server):
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: ")
    writer.write(b"x" * (64 * 1024))

    assert (await reader.readline()).startswith(b"HTTP/1.1 431")
    writer.close()


async def test_siblings_do_not_outlive_a_killed_parent(start_server):
    server = start_server(workers=2)
    children = [line["pid"] for line in server.lines("serving")]

    server.stop(signal.SIGKILL)

    await asyncio.to_thread(until, lambda: not any(psutil.pid_exists(pid) for pid in children))


async def test_the_log_is_one_json_line_an_event_without_tokens_or_content(start_server, headers):
    server = start_server()
    async with httpx.AsyncClient(base_url=server.url) as client:
        await client.post("/api/chat?ticket=tick-1", json=BODY | {"secret": "my diary"}, headers=headers)
        await client.get("/api/search?q=my+diary", headers=headers | {"x-request-id": "trace-9"})
        await client.get("/api/search?q=my+diary", headers={"authorization": "Bearer a.b.c"})
    await asyncio.to_thread(server.stop, signal.SIGTERM)

    written = server.log.read_text()
    assert len(server.lines()) == len(written.splitlines())
    assert [line["path"] for line in server.lines("request")] == ["/api/chat", "/api/search", "/api/search"]
    assert any(line["request_id"] == "trace-9" for line in server.lines("request"))
    for secret in ("diary", "tick-1", "Hello", headers["authorization"].split()[1], "a.b.c"):
        assert secret not in written


@pytest.mark.parametrize("framing", ["content-length: 1000", "transfer-encoding: chunked"])
@pytest.mark.parametrize("rest", [b"", b"no chunk at all\r\n"])
async def test_a_client_that_leaves_in_its_upload_is_no_error_of_ours(start_shared_server, headers, framing, rest):
    server = start_shared_server()
    host, port = server.url.removeprefix("http://").split(":")
    uploads = [
        ("POST", "/api/chat"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/api/conversations/import"),
        ("PATCH", "/api/me/preferences"),
    ]
    for method, path in uploads:
        _, writer = await asyncio.open_connection(host, int(port))
        head = [f"{method} {path} HTTP/1.1", "host: x", framing, f"authorization: {headers['authorization']}"]
        writer.write("\r\n".join([*head, "content-type: application/json", "", ""]).encode() + b'2\r\n{"\r\n' + rest)
        await writer.drain()
        writer.close()

    await asyncio.to_thread(until, lambda: len(server.lines("request")) == len(uploads))
    assert [line for line in server.lines() if line["level"] in {"error", "critical"}] == []
    assert {line["status"] for line in server.lines("request")} == {400}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"COACH_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "cannot be reached"),
        ({"COACH_DATABASE_URL": "mysql://x"}, "COACH_DATABASE_URL"),
        ({"COACH_MONTHLY_LIMIT": "many"}, "COACH_MONTHLY_LIMIT"),
        ({"COACH_JWT_SECRET": "short"}, "COACH_JWT_SECRET"),
        ({"COACH_EMBEDDING_MODEL": "text-embedding-3-small"}, "COACH_EMBEDDING_MODEL"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(database_url, variables, said):
    environment = os.environ | {"COACH_DATABASE_URL": database_url, "COACH_JWT_SECRET": "s" * 40} | variables

    done = run_coach(["serve", "--port", "0"], environment)

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
