"""Write `docs/command-line.md` from the commands' own help: `python docs/generate.py`."""

import os
from pathlib import Path

# The page must not depend on the terminal or the environment of whoever makes it.
os.environ["COLUMNS"] = "100"
os.environ.pop("PILE_TOOLS_DATA", None)

from pile_tools_cli.main import cli

PAGE = Path(__file__).parent / "command-line.md"
HEAD = """\
# Command line

Made by `python docs/generate.py` from what each command's `--help` prints.

Exit codes: 0 done, 1 error, 2 usage, 3 data failed a check, 4 unfinished but resumable; 130, 143 and 129
ended by SIGINT (Ctrl-C), SIGTERM and SIGHUP. A signal that was ignored at the start, as by `nohup`, stays so.
An error is one line on standard error that names the file, the value and the remedy; `--debug` shows
the traceback instead. A progress bar is drawn on a terminal only. `--data` is `$PILE_TOOLS_DATA` unless
given, and else the current directory.
"""


def page() -> str:
    """The whole page."""
    context = cli.make_context("pile-tools", [], resilient_parsing=True)
    parts = [HEAD, f"```\n{cli.get_help(context)}\n```\n"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        parts.append(f"## {name}\n\n```\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
