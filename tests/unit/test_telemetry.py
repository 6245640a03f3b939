"""What gets into the log, and what never does."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest


def logged(code: str) -> str:
    """Standard error of a process that logs as the server does."""
    program = "import logging, structlog\nfrom coach.telemetry import configure_logging\nconfigure_logging('info')\n"
    done = subprocess.run(
        [sys.executable, "-c", program + textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert not done.stdout
    return done.stderr


def test_ours_and_the_libraries_lines_are_json_alike():
    lines = logged(
        """
        structlog.get_logger("ours").info("hello", n=1)
        logging.getLogger("theirs").warning("it is %s", "late")
        logging.getLogger("httpx").info("HTTP Request: GET http://x")
        structlog.get_logger("ours").debug("too quiet")
        """
    ).splitlines()

    first, second = (json.loads(line) for line in lines)
    assert (first["event"], first["n"], first["level"]) == ("hello", 1, "info")
    assert (second["event"], second["level"]) == ("it is late", "warning")


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("token eyJhbGciOi.eyJzdWIiOi.sig-na_ture refused", "eyJzdWIiOi"),
        ("cannot reach postgresql://coach_server:hunter2@db/postgres", "hunter2"),
        ("GET /ws/chat?a=1&ticket=abc123&b=2", "abc123"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop1234", "abcdefghijklmnop"),
    ],
)
def test_secrets_in_a_librarys_words_are_redacted(said, secret):
    written = logged(f"logging.getLogger('theirs').warning({said!r})")

    assert secret not in written
    assert "[redacted]" in written


def test_a_traceback_shows_no_local_variables_and_no_values_of_rows():
    written = logged(
        """
        import psycopg
        def ask():
            diary = "dear" + " diary"
            raise psycopg.errors.CheckViolation("new row for my confession\\nDETAIL: (my confession)")
        try:
            try:
                ask()
            except psycopg.Error as error:
                raise RuntimeError("while storing") from error
        except RuntimeError:
            structlog.get_logger("ours").exception("broke")
        """
    )

    line = json.loads(written)
    assert "RuntimeError: while storing" in line["exception"]
    assert "CheckViolation" in line["exception"]
    assert "dear diary" not in written
    assert "confession" not in written
