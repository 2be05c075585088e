"""`merge` and `split` against `cp`, and `verify` against hashing the same files one after the other.

Both sides flush what they wrote to the disk; what they read is in the page cache. The dataset is random
tokens in eight shards, with a manifest as `pile-tools tokenize` writes it.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pile_tools.checks.checks import verify
from pile_tools.formats.mmidx import write_index
from pile_tools.jobs.join_files import Piece, join_pieces, shard_name
from pile_tools.stages.recut import recut
from pile_tools.storage.manifest import sha256_file


def make_dataset(directory: Path, megabytes: int) -> None:
    directory.mkdir()
    tokens = np.random.RandomState(0).randint(0, 50_000, megabytes * 62_500).astype("<u2")
    for index in range(8):
        tokens.tofile(directory / shard_name("document", index, 7))
    write_index(directory / "document.idx", "<u2", np.full(megabytes * 8, 62_500))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data, shards = root / "data", options.megabytes * 40_000
        make_dataset(data, options.megabytes)
        files = sorted(data.iterdir())
        pieces = [Piece(path, path.stat().st_size) for path in files if path.suffix == ".bin"]
        work = root / "work"
        work.mkdir()

        def join(out: Path) -> None:
            out.mkdir()
            target = Piece(out / "document.bin", sum(piece.bytes for piece in pieces))
            join_pieces(pieces, [target], work, consume=False)

        def copy(out: Path) -> None:
            subprocess.run(["cp", "-r", data, out], check=True)
            subprocess.run(["sync", *out.iterdir()], check=True)

        def copy_and_hash(out: Path) -> None:
            copy(out)
            subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)

        sides: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
            "the data alone, against cp": (join, copy),
            "merge, against cp and sha256sum": (
                lambda out: recut(data, out, shard_bytes=None),
                copy_and_hash,
            ),
            "split, against cp and sha256sum": (
                lambda out: recut(data, out, shard_bytes=shards),
                copy_and_hash,
            ),
        }
        print(f"{options.megabytes} MB in 8 shards")
        for what, (ours, theirs) in sides.items():
            one, two = [], []
            for _ in range(options.rounds):
                one.append(seconds(lambda ours=ours: ours(root / "out")))
                shutil.rmtree(root / "out")
                two.append(seconds(lambda theirs=theirs: theirs(root / "out")))
                shutil.rmtree(root / "out")
            first, second = statistics.median(one), statistics.median(two)
            print(f"{what}: {first:.2f} s against {second:.2f} s, ratio {second / first:.2f}")
        recut(data, root / "made", shard_bytes=shards)
        made = sorted(path for path in (root / "made").iterdir() if path.suffix != ".json")
        one = [seconds(lambda: verify([root / "made"])) for _ in range(options.rounds)]
        two = [seconds(lambda: [sha256_file(path) for path in made]) for _ in range(options.rounds)]
        first, second = statistics.median(one), statistics.median(two)
        print(f"verify, against hashing: {first:.2f} s against {second:.2f} s, ratio {second / first:.2f}")


if __name__ == "__main__":
    main()
