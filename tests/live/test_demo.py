"""``coach demo`` and ``coach chat``, from an empty home to the first answer and away again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from coach.database.embedded import EmbeddedServer
from tests.live.conftest import SECRET, parts_of, until
from tests.live.processes import CoachProcess, run_coach

COACH = Path(sys.executable).with_name("coach")


class Demo:
    """A running ``coach demo``, and what it printed."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.began = time.monotonic()
        self._output = home.with_suffix(".out")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COACH_", "OPENAI_"))}
        self._output.write_text("")
        given = kept | {"COACH_HOME": str(home), "TIKTOKEN_CACHE_DIR": "/nowhere"} | environment
        self.process = CoachProcess(["demo", "--port", "0", *options], given, self._output, folder=home.parent)
        until(lambda: "Ctrl-C stops it" in self.printed or self.process.poll() is not None, 90)
        assert self.process.poll() is None, self.printed
        self.took = time.monotonic() - self.began

    @property
    def printed(self) -> str:
        return self._output.read_text()

    @property
    def url(self) -> str:
        return re.search(r"Open +(\S+)", self.printed)[1]

    @property
    def token(self) -> str:
        return re.search(r"Token +(\S+)", self.printed)[1]

    @property
    def curl(self) -> str:
        return re.search(r"curl -N .*?\}'$", self.printed, re.DOTALL | re.MULTILINE)[0]

    def ends(self, which: int, *, group: bool = False) -> int:
        (os.killpg if group else os.kill)(self.process.pid, which)
        return self.process.wait(30)


def databases_of(home: Path) -> list[psutil.Process]:
    """The servers, without their children: one that was forked this moment still has its parent's command line."""
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if f"{home}/" in " ".join(process.info["cmdline"] or ()) and "postgres" in (process.info["cmdline"] or "")[0]
    }
    return [process for process in found.values() if process.info["ppid"] not in found]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cdemo-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for process in databases_of(folder):
        process.send_signal(signal.SIGQUIT)
    psutil.wait_procs(databases_of(folder), 10)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(place) -> Path:
    """Of somebody who has run the demo before."""
    home = place / "used"
    demo = Demo(home)
    assert demo.ends(signal.SIGINT) in (0, 130)
    return home


def user_of(token: str) -> str:
    import jwt

    return jwt.decode(token, options={"verify_signature": False})["sub"]


def test_the_printed_curl_line_gets_a_grounded_answer_and_ctrl_c_leaves_nothing(place):
    home = place / "fresh"
    demo = Demo(home)
    done = subprocess.run(demo.curl, shell=True, capture_output=True, text=True, check=True, timeout=60)

    parts = parts_of(done.stdout)
    kinds = [part["type"] for part in parts]
    assert kinds[0] == "start"
    assert kinds[-1] == "finish"
    assert kinds.count("source-document") > 0
    answer = "".join(part["delta"] for part in parts if part["type"] == "text-delta")
    assert "knee" in answer.lower()
    assert "[1]" in answer
    assert demo.url in demo.printed.split("Sign in")[1]
    assert httpx.get(demo.url).status_code == 200

    began = time.monotonic()
    assert demo.ends(signal.SIGINT, group=True) in (0, 130)  # as a terminal sends it: to the whole group
    assert time.monotonic() - began < 25
    assert databases_of(home) == []
    assert "Traceback" not in demo.printed


def test_a_later_start_is_quick_and_has_the_same_user(home):
    first = Demo(home)
    question = {"messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What is overdue?"}]}]}
    headers = {"authorization": f"Bearer {first.token}"}
    httpx.post(f"{first.url}/api/chat", json={"id": "kept"} | question, headers=headers, timeout=30)
    used = httpx.get(f"{first.url}/api/me/quota", headers=headers).json()["used"]
    first.ends(signal.SIGINT)
    second = Demo(home)

    assert second.took < 45  # 4 s on a machine that has nothing else to do
    assert user_of(first.token) == user_of(second.token)
    # The first token still holds, and her quota was kept.
    assert httpx.get(f"{second.url}/api/me/quota", headers=headers).json()["used"] == used == 1
    second.ends(signal.SIGINT)


@contextmanager
def inherited(**handlers: signal.Handlers) -> Iterator[None]:
    """What processes begin with that are started inside, whatever the tests themselves were started with."""
    before = {name: signal.signal(signal.Signals[name], handler) for name, handler in handlers.items()}
    yield
    for name, handler in before.items():
        signal.signal(signal.Signals[name], handler)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP])
def test_the_database_stops_with_every_signal_that_ends_the_demo(home, which):
    with inherited(SIGHUP=signal.SIG_DFL):
        demo = Demo(home)
    assert demo.ends(which) in (0, 130)
    assert databases_of(home) == []


@pytest.mark.parametrize(
    ("when", "interrupts"),
    [
        (0.3, signal.default_int_handler),
        (1.0, signal.default_int_handler),
        (2.0, signal.default_int_handler),
        (2.0, signal.SIG_IGN),
    ],
    ids=["0.3", "1.0", "2.0", "2.0-in-the-background-of-a-script"],
)
def test_ended_while_it_prepares_it_can_start_again(place, when, interrupts):
    home = place / f"hasty-{time.monotonic_ns()}"
    with inherited(SIGINT=interrupts):
        process = subprocess.Popen(
            [COACH, "demo", "--port", "0"],
            env=os.environ | {"COACH_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    time.sleep(when)
    process.terminate()
    printed, _ = process.communicate(timeout=40)
    assert process.returncode in (0, 130, -signal.SIGTERM), printed  # the last: before it had begun to listen
    assert "Traceback" not in printed
    assert databases_of(home) == []

    demo = Demo(home)
    assert httpx.get(f"{demo.url}/health/ready").status_code == 200
    demo.ends(signal.SIGINT)


def test_two_demos_of_one_home_share_the_database_until_both_are_gone(home):
    one, two = Demo(home), Demo(home)
    assert len(databases_of(home)) == 1
    one.ends(signal.SIGINT)
    headers = {"authorization": f"Bearer {one.token}"}
    assert httpx.get(f"{two.url}/api/me/quota", headers=headers).status_code == 200
    two.ends(signal.SIGINT)
    assert databases_of(home) == []


def test_more_demo_users_have_lives_of_their_own(place):
    home = place / "many"
    demo = Demo(home, "--users", "3")
    with psycopg.connect(EmbeddedServer(home).url()) as connection:
        rows = connection.execute(
            """
            select p.username, (select count(*) from user_metadata_embeddings e where e.user_id = p.id) +
                   (select count(*) from ai_conversation_memory m where m.user_id = p.id)
            from user_profiles p order by 1
            """
        ).fetchall()
    demo.ends(signal.SIGINT)

    assert [name for name, _ in rows] == ["demo", "demo-0001", "demo-0002", "demo-0003"]
    assert all(count >= 500 for _, count in rows)


def test_a_server_with_two_workers_leaves_no_database_behind(home):
    log = home.with_name("two-workers.log")
    log.write_text("")
    environment = os.environ | {"COACH_HOME": str(home)}
    process = CoachProcess(["serve", "--port", "0", "--workers", "2"], environment, log, is_anew=True)
    until(lambda: log.read_text().count('"serving"') == 2)
    assert len(databases_of(home)) == 1
    process.send_signal(signal.SIGTERM)

    assert process.wait(40) == 0
    assert databases_of(home) == []


def ask(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_coach(["chat", *arguments], os.environ | environment)


def test_a_question_in_the_terminal_is_answered_with_its_sources(home):
    demo = Demo(home)
    done = ask("--url", demo.url, "What should I do about my knee?", COACH_HOME=str(home))
    with_token = ask("--url", demo.url, "What is overdue?", COACH_TOKEN=demo.token)
    nothing_typed = ask("--url", demo.url, "--token", demo.token)
    demo.ends(signal.SIGINT)

    assert done.returncode == 0, done.stderr
    assert "knee" in done.stdout.lower()
    assert re.search(r"^  \[1\] .+ · \w+ · \d{4}-\d\d-\d\d$", done.stdout, re.MULTILINE)
    assert with_token.returncode == 0
    assert nothing_typed.returncode == 0


def test_a_refusal_in_the_terminal_is_one_line(start_server):
    server = start_server()
    wrong = ask("--url", server.url, "--token", "eyJ.nonsense.x", "Hello")
    feature = ask("--url", server.url, "--token", "eyJ.nonsense.x", "--feature", "nonsense", "Hello")

    for done in (wrong, feature):
        assert done.returncode == 1
        assert len((done.stdout + done.stderr).strip().splitlines()) == 1
        assert "Traceback" not in done.stderr
    assert "token" in wrong.stdout
    assert SECRET not in wrong.stdout
