import os
import subprocess
import sys
from pathlib import Path

import pytest
from pile_tools_cli import main
from pile_tools_cli.main import COMMANDS, run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Example: pile-tools {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["batch", "--step", "x"], ["dedup"], ["batch", "--nope"]]
)
def test_usage_error_is_one_line_and_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pile-tools: ")
    assert captured.err.count("\n") == 1


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:\n  dedup" in capsys.readouterr().err


def test_error_is_one_line_and_a_traceback_with_debug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dedup", str(tmp_path / "absent"), "-o", str(tmp_path / "out")]
    assert run(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(Exception, match="absent"):
        run([*arguments, "--debug"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(13, "Permission denied", "some/file"), 1, "some/file: Permission denied"),
        (ZeroDivisionError("division\nby zero"), 1, "a defect of pile-tools, ZeroDivisionError"),
    ],
)
def test_whatever_happens_ends_in_one_line(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(context: object) -> None:
        raise error

    monkeypatch.setattr(main.cli, "invoke", fail)
    assert run(["demo", "x"]) == code
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.count("\n") == 1


def test_reader_that_goes_away_is_no_error() -> None:
    # More than a pipe holds, to a reader that is gone before it is written.
    code = (
        "import click; from pile_tools_cli import main; main.cli.invoke = lambda _: click.echo('x' * 10**6)"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; sys.argv = ['pile-tools', 'demo', 'x']; main.main()"],
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
