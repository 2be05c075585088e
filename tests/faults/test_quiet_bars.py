"""Progress bars of other libraries: none where pile-tools itself draws none."""

import subprocess
import sys

import click
import pytest
from pile_tools_cli import main, options

BAR = "from tqdm.auto import tqdm; list(tqdm(range(3)))"


@pytest.mark.parametrize("show", [True, False])
def test_a_library_that_draws_with_tqdm(show: bool) -> None:
    with options.quiet_bars(show=show):
        drawn = subprocess.run([sys.executable, "-c", BAR], capture_output=True, check=True).stderr
    assert bool(drawn) is show


@pytest.mark.parametrize(
    ("terminal", "arguments", "quiet"),
    [(False, [], True), (True, ["--json"], True), (False, ["--json"], True), (True, [], False)],
)
def test_bars_are_drawn_on_a_terminal_and_not_beside_json(
    terminal: bool, arguments: list[str], quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    @click.command()
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:
        seen.extend(main.os.environ.get(name) for name in options._BAR_SWITCHES)

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda self, context, name: command)
    monkeypatch.setattr(main.sys.stderr, "isatty", lambda: terminal, raising=False)
    for name in options._BAR_SWITCHES:
        monkeypatch.delenv(name, raising=False)
    assert main.run(["suites", *arguments]) == 0
    assert seen == ["1" if quiet else None] * len(options._BAR_SWITCHES)
    assert not set(options._BAR_SWITCHES) & set(main.os.environ)
