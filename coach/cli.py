"""The command line: names, options and examples. What a command does is in ``coach.commands``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import rich_click as click

from coach.commands.bench import commands as bench_commands
from coach.commands.running import as_json_option, end_like_ctrl_c
from coach.commands.running import run as run_to_end
from coach.errors import CoachError

click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.MAX_WIDTH = 100

_NO_WORKER = click.option("--no-worker", is_flag=True, help="Leave embedding and jobs to `coach worker`.")


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
    """Start with a made-up user and a year of her life: no key, no server, no set-up."""
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
    """Embed changed rows and run the scheduled jobs, without serving. Any number may run; `coach serve` has one
    inside."""
    from coach.commands.worker import run

    sys.exit(run())


@cli.command(epilog="Example: coach migrate --check")
@click.option("--check", is_flag=True, help="Only tell what is waiting; exit 1 if anything is.")
@click.option("--plan", is_flag=True, help="Tell all that would be done, and do none of it; exit 1 if it is refused.")
@click.option("--harden", is_flag=True, help="Also revoke an app's functions that lead past row level security.")
def migrate(check: bool, plan: bool, harden: bool) -> None:
    """Bring the database up to date, and report changes to existing data."""
    from coach.commands import migrate as command

    sys.exit(run_to_end(command.check() if check else command.plan(harden) if plan else command.run(harden)))


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
    """Make a token for a user, for a first try. The token is the last word printed."""
    from coach.commands.token import run

    run_to_end(run(name, role, ttl))


@cli.command(epilog="Example: coach chat --as demo")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="A running server.")
@click.option("--as", "name", default="demo", show_default=True, metavar="NAME", help="Who you are there.")
@click.option("--token", default=None, envvar="COACH_TOKEN", help="A token of yours, instead of --as.")
@click.option("--feature", default="goal_coaching", show_default=True, help="What kind of answer.")
@click.argument("question", required=False)
def chat(url: str, name: str, token: str | None, feature: str, question: str | None) -> None:
    """Talk to the coach in the terminal, or ask one QUESTION and leave."""
    from coach.commands.chat import run

    sys.exit(run_to_end(run(url, name, token, feature, question)))


@cli.command(name="import", epilog="Example: coach import conversations.json --as ann")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="A running server.")
@click.option("--as", "name", default="demo", show_default=True, metavar="NAME", help="Whose conversations they are.")
@click.option("--token", default=None, envvar="COACH_TOKEN", help="A token of theirs, instead of --as.")
@as_json_option
def import_conversations(file: Path, url: str, name: str, token: str | None, as_json: bool) -> None:
    """Import past conversations: FILE is the conversations.json of ChatGPT, DeepSeek, Claude, Open WebUI or LibreChat,
    its zip, or our own form. You may stop it and start again: known messages stay as they are.
    """
    from coach.commands.importing import run

    sys.exit(run_to_end(run(file, url, name, token, as_json=as_json)))


@cli.command(epilog="Example: coach doctor --json")
@as_json_option
def doctor(as_json: bool) -> None:
    """Show what is configured, what works, and how to repair the rest."""
    from coach.commands.doctor import run

    sys.exit(run_to_end(run(as_json)))


@cli.group(name="eval")
def evaluate() -> None:
    """Measure how good retrieval is."""


@evaluate.command(epilog="Example: coach eval retrieval --min-hit 0.9")
@click.option("--min-hit", default=0.0, type=click.FloatRange(0, 1), help="Exit 1 below this hit@10.")
@as_json_option
def retrieval(min_hit: float, as_json: bool) -> None:
    """Forty questions about the demo user, against the rows that answer them."""
    from coach.commands.evaluate import demo_retrieval

    sys.exit(run_to_end(demo_retrieval(min_hit, as_json)))


@evaluate.command(epilog="Example: coach eval locomo ../shared/locomo/locomo_dev.json --min-recall 0.6")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--min-recall", default=0.0, type=click.FloatRange(0, 1), help="Exit 1 below this R@10.")
@as_json_option
def locomo(file: Path, min_recall: float, as_json: bool) -> None:
    """Long conversations of the LoCoMo benchmark in FILE, loaded as users' past."""
    from coach.commands.evaluate import locomo as run

    sys.exit(run_to_end(run(file, min_recall, as_json)))


@cli.group()
def bench() -> None:
    """Measure speed, as ratios against something fair in the same run."""


for _command in bench_commands():
    bench.add_command(_command)


@cli.command(epilog="Example: coach reembed --status")
@click.option("--status", is_flag=True, help="How far it is; the default, and all there is to ask.")
@as_json_option
def reembed(status: bool, as_json: bool) -> None:
    """Show the progress of a change of COACH_EMBEDDING_MODEL. Workers carry it out; the old model serves until then."""
    from coach.commands.reembed import run

    run_to_end(run(as_json))


def main() -> None:
    """The console script. A fault that the operator can repair is one line, not a traceback."""
    end_like_ctrl_c()
    try:
        cli()
    except CoachError as error:
        click.echo(f"coach: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
