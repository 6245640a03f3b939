"""The command line: names, options and examples. What a command does is in ``coach.commands``."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import rich_click as click

from coach.errors import CoachError

T = TypeVar("T")

click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.MAX_WIDTH = 100

_NO_WORKER = click.option("--no-worker", is_flag=True, help="Leave embedding and jobs to `coach worker`.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class Coach(click.RichGroup):
    """Ctrl-C ends a command as it ends any program: without a word, with 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=Coach, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aurum-coach", prog_name="coach")
def cli() -> None:
    """A coach that knows your life: your tasks, your journal, your conversations, on your own server.

    Begin with `coach demo`. Everything is set by COACH_ variables; `coach doctor` tells what is set and what works.
    """


@cli.command(epilog="Example: coach demo --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0: any free one.")
@click.option("--users", default=0, type=click.IntRange(0, 9_999), metavar="N", help="N more people, for load tests.")
@_NO_WORKER
def demo(host: str, port: int, users: int, no_worker: bool) -> None:
    """Start with a made-up person and a year of her life: no key, no server, no set-up."""
    from coach.commands.demo import run

    sys.exit(run(host, port, users, embeds=not no_worker))


@cli.command(epilog="Example: coach serve --host 0.0.0.0 --port 8000 --workers 2")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0: any free one.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Server processes.")
@_NO_WORKER
def serve(host: str, port: int, workers: int, no_worker: bool) -> None:
    """Serve the API and the page. Ctrl-C or SIGTERM lets running turns finish first."""
    from coach.commands.serve import run

    run(host, port, workers, embeds=not no_worker)


@cli.command(epilog="Example: coach worker")
def worker() -> None:
    """Embed what changes and do what is due, without serving. Any number may run; `coach serve` has one inside."""
    from coach.commands.worker import run

    sys.exit(run())


@cli.command(epilog="Example: coach migrate --check")
@click.option("--check", is_flag=True, help="Only tell what is waiting; exit 1 if anything is.")
def migrate(check: bool) -> None:
    """Bring the database up to date, and tell what was done to what was there."""
    from coach.commands.migrate import run

    sys.exit(_run(run(check)))


@cli.command(epilog="Example: coach token --create ann --ttl 30d")
@click.option("--create", "name", required=True, metavar="NAME", help="The user; made if there is none.")
@click.option(
    "--role",
    default="authenticated",
    type=click.Choice(["authenticated", "service_role"]),
    help="A user or an operator.",
)
@click.option("--ttl", default="8h", show_default=True, help="How long it holds: 90m, 8h, 30d.")
def token(name: str, role: Literal["authenticated", "service_role"], ttl: str) -> None:
    """Make a token for a user, for trying things out. The token is the last word printed."""
    from coach.commands.token import run

    _run(run(name, role, ttl))


@cli.command(epilog="Example: coach chat --as demo")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="A running server.")
@click.option("--as", "name", default="demo", show_default=True, metavar="NAME", help="Who you are there.")
@click.option("--token", default=None, envvar="COACH_TOKEN", help="A token of yours, instead of --as.")
@click.option("--feature", default="goal_coaching", show_default=True, help="What kind of answer.")
@click.argument("question", required=False)
def chat(url: str, name: str, token: str | None, feature: str, question: str | None) -> None:
    """Talk to the coach in the terminal, or ask one QUESTION and leave."""
    from coach.commands.chat import run

    sys.exit(_run(run(url, name, token, feature, question)))


@cli.command(name="import", epilog="Example: coach import conversations.json --as ann")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="A running server.")
@click.option("--as", "name", default="demo", show_default=True, metavar="NAME", help="Whose conversations they are.")
@click.option("--token", default=None, envvar="COACH_TOKEN", help="A token of theirs, instead of --as.")
@_JSON
def import_conversations(file: Path, url: str, name: str, token: str | None, as_json: bool) -> None:
    """Bring past conversations along: FILE is ChatGPT's conversations.json, its zip, or our own form.

    It may be stopped and started again: what is there already is left as it is.
    """
    from coach.commands.importing import run

    sys.exit(_run(run(file, url, name, token, as_json=as_json)))


@cli.command(epilog="Example: coach doctor --json")
@_JSON
def doctor(as_json: bool) -> None:
    """Tell what is configured, what works, and what to do about the rest."""
    from coach.commands.doctor import run

    sys.exit(_run(run(as_json)))


@cli.group(name="eval")
def evaluate() -> None:
    """Measure how good retrieval is."""


@evaluate.command(epilog="Example: coach eval retrieval --min-hit 0.9")
@click.option("--min-hit", default=0.0, type=click.FloatRange(0, 1), help="Exit 1 below this hit@10.")
@_JSON
def retrieval(min_hit: float, as_json: bool) -> None:
    """Forty questions about the demo person, against the rows that answer them."""
    from coach.commands.evaluate import demo_retrieval

    sys.exit(_run(demo_retrieval(min_hit, as_json)))


@evaluate.command(epilog="Example: coach eval locomo ../shared/locomo/locomo_dev.json --min-recall 0.6")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--min-recall", default=0.0, type=click.FloatRange(0, 1), help="Exit 1 below this R@10.")
@_JSON
def locomo(file: Path, min_recall: float, as_json: bool) -> None:
    """Long conversations of the LoCoMo benchmark in FILE, loaded as users' past."""
    from coach.commands.evaluate import locomo as run

    sys.exit(_run(run(file, min_recall, as_json)))


@cli.group()
def bench() -> None:
    """Measure speed, as ratios against something fair in the same run."""


@bench.command(epilog="Example: coach bench vector --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def vector(smoke: bool, as_json: bool) -> None:
    """Our search against the plain query over the same rows."""
    from coach.commands.bench import vector as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench turn --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def turn(smoke: bool, as_json: bool) -> None:
    """What the server adds to the model's own time, and turns a second."""
    from coach.commands.bench import turn as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench pipeline --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def pipeline(smoke: bool, as_json: bool) -> None:
    """How many changed rows a second are embedded, over one call a row."""
    from coach.commands.bench import pipeline as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench edits --edits 500 --json")
@click.option("--edits", default=None, type=click.IntRange(2, 100_000), help="How many; 500 if left out.")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def edits(edits: int | None, smoke: bool, as_json: bool) -> None:
    """How soon an edit made in SQL is found by GET /api/search of a real server."""
    from coach.commands.bench import edits as run

    _run_quickly(run(edits, smoke, as_json))


@bench.command(name="import", epilog="Example: coach bench import --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def import_(smoke: bool, as_json: bool) -> None:
    """What the triggers add to one statement that imports 20,000 rows."""
    from coach.commands.bench import imports as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench sockets --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def sockets(smoke: bool, as_json: bool) -> None:
    """What 2,000 idle sockets cost, and what 200 readers that never read do to others."""
    from coach.commands.bench import sockets as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench streams --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def streams(smoke: bool, as_json: bool) -> None:
    """How many answers one server process on one core streams at once, at 20 tokens a second."""
    from coach.commands.bench import streams as run

    _run_quickly(run(smoke, as_json))


@bench.command(epilog="Example: coach bench follow --json")
@click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
@_JSON
def follow(smoke: bool, as_json: bool) -> None:
    """How much later a reader on another server process has what the first one told."""
    from coach.commands.bench import follow as run

    _run_quickly(run(smoke, as_json))


@cli.command(epilog="Example: coach reembed --status")
@click.option("--status", is_flag=True, help="How far it is; the default, and all there is to ask.")
@_JSON
def reembed(status: bool, as_json: bool) -> None:
    """Tell how far a change of COACH_EMBEDDING_MODEL is. Workers do it by themselves; the old one serves meanwhile."""
    from coach.commands.reembed import run

    _run(run(as_json))


def _run_quickly(work: Coroutine[Any, Any, T]) -> T:
    """On the server's own event loop: a bench's client is not to be what is measured."""
    import uvloop

    return _run(work, uvloop.run)


def _run(work: Coroutine[Any, Any, T], runner: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run) -> T:
    from coach.telemetry import configure_logging

    configure_logging("error")  # what a person should know the command says itself
    return runner(work)


def _end_like_ctrl_c() -> None:
    """SIGTERM, and a terminal that is closed, would end us at once, and leave the embedded database running."""
    for which in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(which) == signal.SIG_DFL:  # nohup ignores SIGHUP, and means it
            signal.signal(which, _interrupt)


def _interrupt(_which: int, _frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As a script's background job is started: what it ignores from a terminal would take this with it.
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """The console script. What is the operator's to mend is one line, not a traceback."""
    _end_like_ctrl_c()
    try:
        cli()
    except CoachError as error:
        click.echo(f"coach: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
