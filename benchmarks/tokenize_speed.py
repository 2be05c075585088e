"""`pile-tools tokenize` against `tokenizers.encode_batch_fast` with JSON reading, on the same cores.

The corpus is text that every Python installation has: its standard library and the packages installed
beside it, as Pile-style `.jsonl.zst` shards. The other side reads the same shards with zstandard and
orjson and encodes them with `encode_batch_fast` on all cores; it writes nothing. Ours is the whole
command, process start and hashing included: `.jsonl.zst` in, `.bin`, `.idx` and `documents.parquet` out.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import orjson
import tokenizers
import zstandard

BATCH = 1000


def make_corpus(directory: Path, megabytes: int, shards: int) -> int:
    """Write shards of about ``megabytes`` of text in all; return its bytes."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    files = sorted(path for root in roots for path in root.rglob("*.py"))
    # Small and large packages alternate, so that a small corpus is a fair sample of a large one.
    files = [path for start in range(97) for path in files[start::97]]
    lines: list[list[bytes]] = [[] for _ in range(shards)]
    total = 0
    for number, path in enumerate(files):
        text = path.read_text(encoding="utf-8", errors="replace")
        lines[number % shards].append(
            json.dumps({"text": text, "meta": {"pile_set_name": "Code"}}, ensure_ascii=False).encode() + b"\n"
        )
        total += len(text.encode())
        if total > megabytes * 1_000_000:
            break
    directory.mkdir()
    for number, part in enumerate(lines):
        (directory / f"{number:02d}.jsonl.zst").write_bytes(zstandard.compress(b"".join(part)))
    return total


def encode_with_tokenizers(corpus: Path, tokenizer: str) -> int:
    """The other side; returns the number of tokens, an EOD for each document included."""
    loaded = tokenizers.Tokenizer.from_file(tokenizer)
    count = 0
    for path in sorted(corpus.iterdir()):
        with zstandard.open(path, "rb") as file:
            texts = [orjson.loads(line)["text"] for line in file.read().split(b"\n") if line]
        for first in range(0, len(texts), BATCH):
            found = loaded.encode_batch_fast(texts[first : first + BATCH], add_special_tokens=False)
            count += sum(len(encoding.ids) + 1 for encoding in found)
    return count


def timed(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds and CPU seconds of a command and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, printed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="../shared/tokenizer/20B_tokenizer.json")
    parser.add_argument("--megabytes", type=int, default=60)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--other-side", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.other_side:
        print(encode_with_tokenizers(options.other_side, options.tokenizer))
        return
    ours_command = [str(Path(sys.executable).with_name("pile-tools")), "tokenize", "--json"]
    ours_command += ["--tokenizer", options.tokenizer, "--workers", str(options.workers)]
    theirs_command = [sys.executable, __file__, "--tokenizer", options.tokenizer, "--other-side"]
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary) / "corpus"
        size = make_corpus(corpus, options.megabytes, options.shards) / 1e6
        print(f"{size:.1f} MB of text in {options.shards} shards, {options.workers} workers")
        rows, peak = [], 0
        for number in range(options.rounds):
            out = Path(temporary) / f"out-{number}"
            wall, cpu, printed = timed([*ours_command, str(corpus), "-o", str(out)])
            if number == 0:  # before the other side has run: the figure is of the largest child so far
                peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            other_wall, other_cpu, expected = timed([*theirs_command, str(corpus)])
            if json.loads(printed)["tokens"] != int(expected):
                sys.exit("the two sides count different tokens")
            rows.append([size / wall, size / other_wall, size / cpu, size / other_cpu])
            print(
                "round {}: {:.1f} against {:.2f} MB/s; {:.1f} against {:.2f} MB per CPU second".format(
                    number, *rows[-1]
                )
            )
        wall, other_wall, cpu, other_cpu = map(statistics.median, zip(*rows, strict=True))
    print(f"MB/s               {wall:6.1f} against {other_wall:5.2f}  ratio {wall / other_wall:5.1f}")
    print(f"MB per CPU second  {cpu:6.1f} against {other_cpu:5.2f}  ratio {cpu / other_cpu:5.1f}")
    print(f"largest process    {peak / 1e3:6.0f} MB")


if __name__ == "__main__":
    main()
