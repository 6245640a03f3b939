"""The command line as people use it: the console script, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import click
import psycopg
import pytest

from coach import commands as command_modules
from coach.cli import cli
from coach.database.embedded import EmbeddedServer
from coach.identity.tokens import Verifier
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Status
from tests.conftest import own_database
from tests.live.processes import run_coach

COACH = Path(sys.executable).with_name("coach")
SECRET = "the shared secret of these tests, long enough"
NOWHERE = "postgresql://ann:hush@127.0.0.1:1/none"
HEAVY = ("litestar", "langchain", "langchain_core", "openai", "psycopg", "numpy", "pydantic", "wordllama", "structlog")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def coach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``coach("token", "--create", "ann", COACH_HOME=…)``, where no other setting reaches it."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_coach(arguments, alone(tmp_path) | environment, folder=tmp_path)

    return run


def alone(home: Path) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COACH_", "OPENAI_"))}
    return kept | {"HOME": str(home), "COACH_HOME": str(home / "unused")}


@pytest.fixture
def empty_url(cluster: EmbeddedServer) -> Iterator[str]:
    """A database that nobody has migrated, as its owner logs in."""
    with own_database(cluster) as name:
        yield cluster.url(name)


@pytest.fixture
def ours(worker_url: str) -> dict[str, str]:
    """The environment of an operator whose database is migrated."""
    return {"COACH_DATABASE_URL": worker_url, "COACH_JWT_SECRET": SECRET}


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert done.returncode not in (0, 1), done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "hush" not in lines[0]
    return lines[0]


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("name", [" ".join(path) for path, _ in commands()])
def test_every_command_has_a_line_an_example_that_parses_and_options_with_meaning(name: str) -> None:
    command = next(command for path, command in commands() if " ".join(path) == name)
    assert command.help
    assert (command.epilog or "").startswith(f"Example: coach {name}")
    words = (command.epilog or "").removeprefix(f"Example: coach {name}").split()
    # A file of the example need not lie here; this one does.
    command.make_context(name, [__file__ if word.endswith(".json") else word for word in words])
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_help_is_there_within_half_a_second(tmp_path: Path) -> None:
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([COACH, "--help"], env=alone(tmp_path), capture_output=True, text=True, check=True)
        assert "coach demo" in done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5  # of CPU: what else the machine does is not ours


@pytest.mark.parametrize("command", [module.name for module in iter_modules(command_modules.__path__)])
def test_a_command_needs_nothing_that_another_has_imported(command: str) -> None:
    subprocess.run([sys.executable, "-c", f"import coach.cli, coach.commands.{command}"], check=True)


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "coach", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "rich_click" in imported
    assert not {name.split(".")[0] for name in imported} & set(HEAVY)


def test_a_migration_is_checked_applied_and_then_nothing_is_left_to_do(coach: Run, empty_url: str) -> None:
    environment = {"COACH_DATABASE_URL": empty_url}
    waiting = coach("migrate", "--check", **environment)
    assert waiting.returncode == 1
    assert re.search(r"^waiting: migrations/0001_\w+\.sql$", waiting.stdout, re.MULTILINE)

    first, second = coach("migrate", **environment), coach("migrate", **environment)
    assert re.fullmatch(r"\d+ migrations and \d+ function files applied\.\n", first.stdout)
    assert (second.returncode, second.stdout) == (0, "Nothing to do.\n")
    assert coach("migrate", "--check", **environment).stdout == "The database is up to date.\n"


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("token", "--create", "ann")])
def test_an_unmigrated_database_says_what_to_run(coach: Run, empty_url: str, command: tuple[str, ...]) -> None:
    line = said(coach(*command, COACH_DATABASE_URL=empty_url, COACH_JWT_SECRET=SECRET))
    assert re.search(r"COACH_DATABASE_URL: \d+ files of sql/ wait there; run: coach migrate$", line)


def test_the_servers_login_may_not_migrate_and_hears_who_may(coach: Run, database_url: str, owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("update coach.migrations set name = name")  # it is the owner's to change
    line = said(coach("migrate", COACH_DATABASE_URL=database_url))
    assert line.startswith("coach: COACH_DATABASE_URL: migrations must run as a superuser")


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("migrate", "--check"),
        ("token", "--create", "ann"),
        ("serve", "--port", "0"),
        ("demo", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_database_that_is_away_is_one_line(coach: Run, command: tuple[str, ...]) -> None:
    line = said(coach(*command, COACH_DATABASE_URL=NOWHERE, COACH_JWT_SECRET=SECRET))
    assert "The database cannot be reached" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COACH_HOME", "/x" * 60),
        ("COACH_DATABASE_URL", "mysql://u:hush@db/app"),
        ("COACH_JWT_SECRET", "hush"),
        ("COACH_JWKS_URL", "hush"),
        ("COACH_OPENAI_BASE_URL", "hush"),
        ("COACH_OPENAI_API_KEY", "hu sh"),
        ("COACH_CHAT_MODEL", "no-such-provider:model"),
        ("COACH_FALLBACK_MODELS", "no-such-provider:model"),
        ("COACH_EMBEDDING_MODEL", "no-such-embedder"),
        ("COACH_ALLOWED_ORIGINS", "*"),
        ("COACH_MONTHLY_LIMIT", "many"),
        ("COACH_TURN_TIMEOUT", "soon"),
        ("COACH_METRICS_TOKEN", "hu sh"),
        ("COACH_LOG_LEVEL", "loud"),
        ("COACH_DRAIN_GRACE", "-1"),
        ("COACH_POOL_SIZE", "0"),
    ],
)
def test_a_wrong_setting_stops_the_server_with_one_line_that_names_it(
    coach: Run, ours: dict[str, str], name: str, value: str
) -> None:
    environment = {key: given for key, given in ours.items() if name != "COACH_HOME"} | {name: value}
    line = said(coach("serve", "--port", "0", **environment))
    assert name in line
    assert "Example" in line


def test_the_start_and_the_doctor_report_a_misspelt_setting(coach: Run, ours: dict[str, str]) -> None:
    environment = ours | {"COACH_MONTHLY_LIMT": "5", "COACH_POOL_SIZE": "0"}
    lines = coach("serve", "--port", "0", **environment).stderr.splitlines()
    assert lines[0] == "coach: COACH_MONTHLY_LIMT is not a setting; did you mean COACH_MONTHLY_LIMIT?"

    found = findings(coach("doctor", "--json", **ours, COACH_MONTHLY_LIMT="5"))
    assert not found["settings"]["fine"]
    assert "did you mean COACH_MONTHLY_LIMIT?" in found["settings"]["detail"]


def test_a_port_in_use_is_one_line(coach: Run, ours: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "demo"):
            assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in said(
                coach(command, "--port", port, **ours)
            )


def test_an_address_that_is_not_ours_is_one_line(coach: Run, ours: dict[str, str]) -> None:
    assert "cannot listen on 192.0.2.1:0" in said(coach("serve", "--host", "192.0.2.1", "--port", "0", **ours))


async def test_a_token_is_the_last_word_and_is_the_same_users_each_time(coach: Run, ours: dict[str, str]) -> None:
    verifier = Verifier(secret=SECRET, keys=None, audience="authenticated", issuer=None)
    people = []
    for name in ("ann", " Ann ", "bob"):
        done = coach("token", "--create", name, **ours)
        assert done.returncode == 0, done.stderr
        people.append((await verifier.verify(done.stdout.split()[-1])).user_id)
        assert done.stdout.count("\n") == 1
    assert people[0] == people[1] != people[2]


async def test_a_token_has_the_role_and_the_time_that_were_asked_for(coach: Run, ours: dict[str, str]) -> None:
    done = coach("token", "--create", "ops", "--role", "service_role", "--ttl", "90m", **ours)
    claims = payload(done.stdout.split()[-1])
    assert claims["role"] == "service_role"
    assert claims["exp"] - claims["iat"] == 90 * 60


def payload(token: str) -> dict[str, Any]:
    import jwt

    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


@pytest.mark.parametrize("ttl", ["1s", "366d", "8784h"])
def test_the_shortest_and_the_longest_token(coach: Run, ours: dict[str, str], ttl: str) -> None:
    assert coach("token", "--create", "ann", "--ttl", ttl, **ours).returncode == 0


@pytest.mark.parametrize("ttl", ["0s", "367d", "-1h", "8", "h", "1w", "1.5h", "", "9999999s", "²h"])
def test_no_other_time_span_is_taken(coach: Run, ours: dict[str, str], ttl: str) -> None:
    assert said(coach("token", "--create", "ann", f"--ttl={ttl}", **ours)).startswith("coach: --ttl: ")


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 65, "bell\a"])
def test_an_unusable_name_is_refused(coach: Run, ours: dict[str, str], name: str) -> None:
    assert "name: must be 1 to 64 printable characters." in said(coach("token", "--create", name, **ours))


def test_no_token_is_made_if_another_system_issues_them(coach: Run, worker_url: str) -> None:
    done = coach("token", "--create", "ann", COACH_DATABASE_URL=worker_url, COACH_JWKS_URL="https://id.example/keys")
    assert said(done).startswith("coach: COACH_JWT_SECRET: tokens here are issued by the owner of COACH_JWKS_URL")


@pytest.mark.parametrize("command", [("token", "--create", "ann"), ("demo", "--port", "0")], ids=" ".join)
def test_with_the_servers_login_alone_the_workers_is_asked_for(
    coach: Run, database_url: str, worker_url: str, command: tuple[str, ...]
) -> None:
    line = said(coach(*command, COACH_DATABASE_URL=database_url, COACH_JWT_SECRET=SECRET))
    assert line.startswith("coach: COACH_WORKER_DATABASE_URL: this login may not act for all users.")

    both = {"COACH_DATABASE_URL": database_url, "COACH_WORKER_DATABASE_URL": worker_url, "COACH_JWT_SECRET": SECRET}
    assert coach("token", "--create", "ann", **both).returncode == 0


def test_a_database_by_url_needs_a_way_to_check_tokens(coach: Run, worker_url: str) -> None:
    for command in (("serve", "--port", "0"), ("token", "--create", "ann")):
        assert said(coach(*command, COACH_DATABASE_URL=worker_url)).startswith("coach: COACH_JWT_SECRET: needed beside")


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_the_doctor_finds_everything_fine(coach: Run, ours: dict[str, str]) -> None:
    done = coach("doctor", "--json", **ours)
    found = findings(done)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert {"settings", "database", "sign in", "model", "embedder", "token counts"} == set(found)
    assert all(finding["fine"] for finding in found.values())
    assert SECRET not in done.stdout
    assert coach("doctor", **ours).stdout.count("✓") == len(found)


@pytest.mark.parametrize(
    ("variables", "name", "expected"),
    [
        ({"COACH_DATABASE_URL": NOWHERE}, "database", "cannot be reached"),
        ({"COACH_JWT_SECRET": ""}, "sign in", "COACH_JWT_SECRET"),
        ({"COACH_CHAT_MODEL": "no-such-provider:model"}, "model", "COACH_CHAT_MODEL"),
        ({"COACH_OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "COACH_EMBEDDING_MODEL": "wordllama"}, "model", "reached"),
        ({"COACH_EMBEDDING_MODEL": "no-such-embedder"}, "embedder", "COACH_EMBEDDING_MODEL"),
    ],
)
def test_the_doctor_names_the_one_thing_that_is_wrong(
    coach: Run, ours: dict[str, str], variables: dict[str, str], name: str, expected: str
) -> None:
    done = coach("doctor", "--json", **(ours | variables))
    found = findings(done)
    assert done.returncode == 1
    assert [each for each in found if not found[each]["fine"]] == [name]
    assert expected in found[name]["detail"]
    assert found[name]["remedy"]
    assert "hush" not in done.stdout


def test_the_doctor_says_what_the_provider_said(coach: Run, ours: dict[str, str], model_stub: StubProvider) -> None:
    model_stub.always(Status(401, message="Incorrect API key provided."))
    provider = {"COACH_OPENAI_BASE_URL": model_stub.url, "COACH_OPENAI_API_KEY": "sk-1", "COACH_CHAT_MODEL": "gpt-4o"}
    done = coach("doctor", "--json", **ours, **provider, COACH_EMBEDDING_MODEL="wordllama")
    found = findings(done)
    assert not found["model"]["fine"]
    assert "key" in found["model"]["detail"].lower()


def test_the_doctor_tells_of_migrations_that_wait(coach: Run, empty_url: str) -> None:
    found = findings(coach("doctor", "--json", COACH_DATABASE_URL=empty_url, COACH_JWT_SECRET=SECRET))
    assert re.search(r"pgvector not installed yet; \d+ files of sql/ wait", found["database"]["detail"])
    assert found["database"]["remedy"] == "coach migrate"


def test_chat_without_a_server_says_how_to_start_one(coach: Run, ours: dict[str, str]) -> None:
    for url in ("http://127.0.0.1:1", "nonsense", "http://[bad"):
        line = said(coach("chat", "--url", url, "Hello", **ours))
        assert line == f"coach: No coach answers at {url}; start one with: coach demo"


def test_an_unknown_option_is_reported_without_a_traceback(coach: Run) -> None:
    for arguments in (("--nonsense",), ("serve", "--port", "70000"), ("token",), ("nonsense",)):
        done = coach(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
