"""What deduplication finds of planted near-duplicates whose exact similarities are known.

    python benchmarks/dedup_quality.py [--groups 60] [--texts CORPUS]

The corpus: originals of real sentences, short (60 words) to long (6,000 words), and around them clusters of
2 to 500 documents and chains, each edited so that similarities spread over 0.60 to 1.00. Every pair of a
cluster is compared by sets of 5-grams of lower-case words in plain Python: nothing of ours is asked. Then
`pile-tools dedup` runs with its default settings, and with `--verify none`, which is what
`datasketch.MinHashLSH` finds with the (bands, rows) that it picks.

together        share of the pairs at or above 0.87 that end in one component
named           share of the removed documents whose named partner is at 0.87 or above, and whose stated
                similarity is the true one (where one is stated)
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from corpora import change_words, cut_pieces, read_texts

THRESHOLD = Fraction(87, 100)
BINS = [Fraction(n, 100) for n in (60, 70, 80, 84, 87, 90, 95, 100)]
Row = tuple[str, int]


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4)))


def similarity(a: frozenset[object], b: frozenset[object]) -> Fraction:
    common = len(a & b)
    return Fraction(common, len(a) + len(b) - common)


def original(rng: np.random.RandomState, pieces: Sequence[str], words: int) -> str:
    parts: list[str] = []
    count = 0
    while count < words:
        start = rng.randint(len(pieces))
        parts += pieces[start : start + 4]
        count += sum(len(piece.split()) for piece in pieces[start : start + 4])
    return "".join(parts)


def groups(pieces: Sequence[str], number: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Kinds and texts of groups of related documents."""
    rng = np.random.RandomState(seed)
    for size in (2, 2, 2, 3, 5, 10, 30):
        for _ in range(number * 10 if size == 2 else number):
            text = original(rng, pieces, int(np.exp(rng.uniform(np.log(60), np.log(6000)))))
            # Copies of one text, each at its own distance: pairs of copies are farther from each other.
            yield (
                f"cluster of {size}",
                [text, *(change_words(rng, text, rng.uniform(0.6, 1)) for _ in range(size - 1))],
            )
    for size in (100, 500):
        for nearest in (0.90, 0.94, 0.97):
            text = original(rng, pieces, 400)
            yield (
                f"cluster of {size}",
                [text, *(change_words(rng, text, rng.uniform(nearest, 1)) for _ in range(size - 1))],
            )
    for _ in range(number):
        chain = [original(rng, pieces, 600)]
        for _ in range(19):
            chain.append(change_words(rng, chain[-1], rng.uniform(0.87, 0.97)))
        yield "chain of 20", chain


def write(directory: Path, kinds: Sequence[tuple[str, list[str]]], seed: int) -> dict[Row, tuple[int, str]]:
    """Write the documents in a random order into four shards; return the group and text of each."""
    flat = [(group, text) for group, (_, texts) in enumerate(kinds) for text in texts]
    directory.mkdir()
    placed: dict[Row, tuple[int, str]] = {}
    order = np.random.RandomState(seed).permutation(len(flat))
    for shard, part in enumerate(np.array_split(order, 4)):
        name = f"{shard}.jsonl"
        lines = [json.dumps({"text": flat[i][1], "meta": {"pile_set_name": "Made"}}) for i in part.tolist()]
        (directory / name).write_text("\n".join(lines) + "\n")
        placed |= {(name, row): flat[i] for row, i in enumerate(part.tolist())}
    return placed


class Found:
    """The components and partners that a run wrote down."""

    def __init__(self, output: Path) -> None:
        rows = pq.read_table(output / "dedup.parquet").to_pylist()
        self.partner = {
            (row["shard"], row["row"]): (
                (row["duplicate_of_shard"], row["duplicate_of_row"]),
                row["jaccard"],
            )
            for row in rows
        }
        self.component = {(row["shard"], row["row"]): row["component"] for row in rows}
        # The kept document of a component has no row of its own: partners lead to it.
        for row, (partner, _) in self.partner.items():
            self.component.setdefault(partner, self.component[row])

    def together(self, a: Row, b: Row) -> bool:
        return a in self.component and self.component[a] == self.component.get(b)


def named(found: Found, sets: dict[Row, frozenset[object]]) -> tuple[int, int, int]:
    """Removed documents; those with a partner at the threshold; those whose similarity is stated and true."""
    good = true = 0
    for row, (partner, stated) in found.partner.items():
        exact = similarity(sets[row], sets[partner])
        good += exact >= THRESHOLD
        true += stated == exact.numerator / exact.denominator
    return len(found.partner), good, true


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--texts", nargs="*", type=Path, default=[], help="take sentences from these corpora")
    options = parser.parse_args()
    kinds = list(groups(cut_pieces(read_texts(options.texts)), options.groups, seed=5))
    program = str(Path(sys.executable).with_name("pile-tools"))
    runs = {"default settings": [], "--verify none": ["--verify", "none"]}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        placed = write(work / "corpus", kinds, seed=6)
        found = {}
        for i, (run, arguments) in enumerate(runs.items()):
            output = work / f"out{i}"
            command = [program, "dedup", str(work / "corpus"), "-o", str(output), *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found[run] = Found(output)
    sets = {row: shingles(text) for row, (_, text) in placed.items()}
    members = defaultdict(list)
    for row, (group, _) in placed.items():
        members[group].append(row)
    pairs: dict[Fraction, int] = defaultdict(int)
    met: dict[tuple[str, Fraction], int] = defaultdict(int)
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for group, rows in members.items():
        for a, b in combinations(rows, 2):
            exact = similarity(sets[a], sets[b])
            bin_ = max((low for low in BINS if low <= exact), default=Fraction(0))
            pairs[bin_] += 1
            for i, run in enumerate(runs):
                together = found[run].together(a, b)
                met[run, bin_] += together
                by_kind[kinds[group][0]][i] += together and exact >= THRESHOLD
            by_kind[kinds[group][0]][2] += exact >= THRESHOLD

    def share(part: int, whole: int) -> str:
        return f"{part / whole:.2%}" if whole else "–"

    print(f"{len(placed):,} documents, {sum(pairs.values()):,} pairs within {len(kinds):,} groups\n")
    print("| exact similarity | pairs | " + " | ".join(f"together, {run}" for run in runs) + " |")
    print("| --- |" + " --- |" * (1 + len(runs)))
    for low in (Fraction(0), *BINS):
        if pairs[low]:
            label = f"from {float(low):.2f}" if low else "below 0.60"
            cells = [share(met[run, low], pairs[low]) for run in runs]
            print(f"| {label} | {pairs[low]:,} | " + " | ".join(cells) + " |")
    high = sum(n for low, n in pairs.items() if low >= THRESHOLD)
    cells = [
        share(sum(n for (r, low), n in met.items() if r == run and low >= THRESHOLD), high) for run in runs
    ]
    print(f"| **0.87 and above** | {high:,} | " + " | ".join(cells) + " |")
    print("\n| pairs at 0.87 and above of | pairs | " + " | ".join(f"together, {run}" for run in runs) + " |")
    print("| --- |" + " --- |" * (1 + len(runs)))
    for kind in dict(kinds):
        counts = by_kind[kind]
        cells = [share(n, counts[2]) for n in counts[:2]]
        print(f"| {kind} | {counts[2]:,} | " + " | ".join(cells) + " |")
    print(
        "\n| run | removed | partner at 0.87 or above | similarity stated and true |\n" + "| --- " * 4 + "|"
    )
    for run in runs:
        removed, good, true = named(found[run], sets)
        print(f"| {run} | {removed:,} | {share(good, removed)} | {share(true, removed)} |")


if __name__ == "__main__":
    main()
