"""Commands without an optional package: each says which extra brings it, and how to install that."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pile_tools.errors import EXTRAS, MissingExtraError, needs_extra
from pile_tools.formats.fsspec_source import FsspecSource, list_folder

ROOT = Path(__file__).parents[2]

# What is missing, and a command that needs it; one process runs them all.
CASES = [
    (["torch"], ["loss", "run/step8", "--steps", "0:1"]),
    (["torch"], ["memorize", "run/step8", "--steps", "0:1", "-o", "m.parquet"]),
    (["torch"], ["arithmetic", "run/step8"]),
    (["torch"], ["train", "--model", "14m", "-o", "run"]),
    (["safetensors"], ["loss", "run/step8", "--steps", "0:1"]),
    (["safetensors"], ["train", "--model", "14m", "-o", "run"]),
    (["matplotlib"], ["dedup", "corpus", "-o", "kept", "--plot", "kept.png"]),
    (["matplotlib"], ["train", "--model", "14m", "-o", "run", "--plot", "loss.png"]),
    (["matplotlib"], ["loss", "run/step8", "--steps", "0:1", "--plot", "loss.png"]),
    (["matplotlib"], ["mixture", "--plot", "mixture.png"]),
    (["matplotlib"], ["find", "a", "--count", "--plot", "find.png"]),
    (["nltk"], ["dedup", "corpus", "-o", "kept", "--preset", "pile-dedupe"]),
]
RUN_ALL = """
import contextlib, io, json, sys
from pile_tools_cli.main import run
answers = []
for missing, arguments in json.loads(sys.argv[1]):
    for name in [n for n in sys.modules if n.startswith(("pile_tools.train", "pile_tools.studies"))]:
        del sys.modules[name]
    before = {name: sys.modules.get(name) for name in missing}
    sys.modules.update(dict.fromkeys(missing))
    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(arguments)
    answers.append((code, err.getvalue()))
    for name, module in before.items():
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module
print(json.dumps(answers))
"""


def test_each_command_names_the_extra_and_its_installation(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text('{"text": "one two three four five six"}\n')
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(CASES)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for ((package,), arguments), (code, message) in zip(CASES, json.loads(done.stdout), strict=True):
        extra = EXTRAS[package]
        assert code == 1, (arguments, message)
        assert message.count("\n") == 1
        assert message.startswith(f"pile-tools: {package} is not installed, and "), arguments
        assert f"pip install '.[{extra}]'" in message
        assert f"pip install 'pile-tools[{extra}]'" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_every_extra_brings_its_packages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for package, extra in EXTRAS.items():
        names = [line.partition(">")[0] for line in settings["optional-dependencies"][extra]]
        assert package in names, extra
        assert package not in [line.partition(">")[0] for line in settings["dependencies"]]


def test_other_missing_modules_are_left_as_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needs_extra("nothing"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://bucket/x", "s3fs"), ("gs://bucket/x", "gcsfs"), ("smb://host/x", "smbprotocol")],
)
def test_file_systems_of_other_packages_name_the_package(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("s3fs", "gcsfs", "smbclient"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtraError, match=f"{url}: {package} is not installed; run `pip install {package}`"
    ):
        FsspecSource(url)
    with pytest.raises(MissingExtraError, match="pip install"):
        list_folder(url)


def test_unknown_scheme_lists_those_that_work() -> None:
    with pytest.raises(Exception, match=r"nope://a/b: nope:// is not known; name a path, or a URL"):
        FsspecSource("nope://a/b")
