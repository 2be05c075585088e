"""``pile-tools``: the group of all commands, and how every one of them ends."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from pile_tools import __version__
from pile_tools.errors import ExitCode, PileToolsError

from .interrupt import end_soon
from .options import Session, debug_option, proved_files, quiet_bars

# A command's module is imported when the command is used, so that `--help` and a usage error are quick.
COMMANDS = {
    "dedup": "Remove near-duplicate documents from a corpus.",
    "explain": "Show why a document was removed, beside the one that it duplicates.",
    "tokenize": "Turn a corpus into a token dataset.",
    "order": "Make the order in which training reads a token dataset.",
    "batch": "Show the sequences of one step.",
    "trace": "Show which documents a sequence is made of, and where they came from.",
    "verify": "Check that directories still hold what was made.",
    "merge": "Copy a token dataset with its data in one .bin file.",
    "split": "Copy a token dataset with its data in shards.",
    "fetch": "Fetch some steps of a stream into a small dataset that works offline.",
    "suites": "List the suites of models whose streams are published.",
    "checkpoints": "Show the checkpoints of a suite, and what each has seen.",
    "seen": "Show every step that shows a document to the model.",
    "find": "Find a text in what the model reads, in training order.",
    "count": "Count how often terms had been read by each checkpoint.",
    "repeats": "Show how much had been seen how often by each checkpoint.",
    "mixture": "Show the tokens of each source over training.",
    "export": "Write steps for other tools: Parquet, JSON, NumPy, or a token dataset.",
    "diff": "Show where two streams differ.",
    "digest": "Digest every step, to be compared by verify.",
    "lineage": "Print the chain of manifests behind a directory.",
    "card": "Describe a directory for others: croissant.json and a dataset card.",
    "train": "Train a model on a stream, with checkpoints that prove what they have read.",
    "intervene": "Make a counterfactual stream: other words or documents in a range of steps.",
    "memorize": "Measure which sequences of the stream a model reproduces.",
    "memorize-report": "Report on a table of memorize: by interval, source and times seen.",
    "arithmetic": "Measure how well models add and multiply, by how often they had read the numbers.",
    "loss": "Measure a model's loss on steps that it has read and on others.",
    "demo": "Run the whole pipeline on this Python's own standard library.",
}


class LazyGroup(click.Group):
    """A group whose commands live in ``pile_tools_cli.NAME``, each as the function ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name.replace('-', '_')}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: pile-tools batch --data tokens/ --step 65000",
)
@click.version_option(__version__, prog_name="pile-tools")
@debug_option
def cli() -> None:
    """Exactly what a language model had read by step N, and where it came from."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line ``arguments`` and return its exit code; print an error as one line."""
    if importlib.util.find_spec("fcntl") is None:
        click.echo(
            "pile-tools: this system is not supported: it has no POSIX file locks (Windows has none), which "
            "keep two runs out of one directory; use Linux or WSL",
            err=True,
        )
        return ExitCode.ERROR
    session = Session()
    try:
        # Not `cli.main`, which has its own ways of ending: it turns a closed pipe into exit code 1.
        with (
            quiet_bars(show=sys.stderr.isatty() and "--json" not in arguments),
            end_soon(ExitCode.INTERRUPTED, "pile-tools: interrupted"),
            proved_files(),
            cli.make_context("pile-tools", list(arguments), obj=session) as context,
        ):
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("pile-tools: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`pile-tools batch … | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except Exception as error:
        if session.debug:
            raise
        click.echo(f"pile-tools: {_one_line(error)}", err=True)
        return _exit_code(error)
    return ExitCode.DONE


def _exit_code(error: Exception) -> int:
    if isinstance(error, PileToolsError | click.ClickException):
        return error.exit_code
    return ExitCode.ERROR


def _one_line(error: Exception) -> str:
    from pile_tools.formats.urls import redacted

    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see `{context.command_path} --help`)" if context is not None else ""
        message = f"{error.format_message()}{hint}"
    elif isinstance(error, PileToolsError):
        message = str(error)
    elif isinstance(error, OSError):
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        message = f"{' -> '.join(names) or 'input/output'}: {error.strerror or error}"
    else:
        message = f"a defect of pile-tools, {type(error).__name__}: {error}; please report what --debug shows"
    # An argument that is quoted, or another library's message, may hold a URL with its password.
    return redacted(" ".join(message.split()))


def main() -> NoReturn:
    """Entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))
