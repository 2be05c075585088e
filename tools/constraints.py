"""Constraint files for pip: one version of every package that `make demo`, `test` and `docs` install.

    python tools/constraints.py newest    writes constraints.txt; needs uv, which `make constraints` brings
    python tools/constraints.py oldest    prints the lower bounds of pyproject.toml, for make test-oldest

constraints.txt holds for CPython 3.11 to 3.13 on Linux x86-64 with the CPU build of torch. To renew it, run
`make constraints`, then `make test` on each of these Pythons, and commit what has changed. A newer torch is
taken by changing ``TORCH`` here, since its CPU build must be available wherever the tests run.
"""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TORCH: Final = "2.13.0"
# What builds packages from source, this one included, and what installs them.
BUILD_TOOLS: Final = ("pip", "setuptools", "wheel")
# What only the CUDA build of torch needs; it names the versions itself.
CUDA_ONLY: Final = re.compile(r"(nvidia|cuda|triton)\b")
REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?(?P<operator>>=|==)(?P<version>[\w.]+)")
HEADER: Final = """\
# Every package that `make demo`, `make test` and `make docs` install, at the versions they are tested with:
# CPython 3.11 to 3.13, Linux x86-64, the CPU build of torch. Made by `make constraints`.
"""


def newest() -> str:
    """Return the newest set of versions that all supported Pythons can install together."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--all-extras"]
    # One version of a package for all Pythons where there is one, rather than the newest for each.
    command += ["--fork-strategy", "fewest", "--no-header", "--no-annotate", "pyproject.toml", "-"]
    requirements = "\n".join((*BUILD_TOOLS, f"torch=={TORCH}"))
    run = subprocess.run(command, cwd=ROOT, input=requirements, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in run.stdout.splitlines() if not CUDA_ONLY.match(line)]
    versions = Counter(line.split("==")[0] for line in lines)
    # A constraint says nothing of packages that are not installed, so only a choice needs its condition.
    lines = [line if versions[line.split("==")[0]] > 1 else line.split(" ;")[0] for line in lines]
    return HEADER + "".join(f"{line}\n" for line in lines)


def oldest() -> Iterator[str]:
    """Yield a constraint for each direct dependency of the package and of its extras: its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirements in (project["dependencies"], *project["optional-dependencies"].values()):
        for requirement in requirements:
            match = REQUIREMENT.fullmatch(requirement)
            if match is None:
                raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound; write name>=version")
            yield f"{match['name']}=={match['version']}"


def main(arguments: list[str]) -> None:
    if arguments == ["newest"]:
        (ROOT / "constraints.txt").write_text(newest())
    elif arguments == ["oldest"]:
        print(*sorted(set(oldest())), sep="\n")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
