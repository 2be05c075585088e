"""How much of what should be found is found: planted corpora whose exact similarities are known.

    python benchmarks/dedup_quality.py [--clusters 300]

Documents of 60 to 2,000 words in clusters of 2 to 500: edits of one original (single words replaced all
over the text, or a passage replaced), spread so that similarities with it run from 0.60 to 1.00; and
chains in which each document edits the one before. Every pair of a cluster is compared exactly;
documents of different clusters share nothing. Recall: pairs at or above 0.87 that end in one component.
Partners: removed documents that have a partner at or above 0.87 (for the default: the one that
`dedup.parquet` names, whose similarity must be the true one; else any document of the component).
Wrongly removed: documents that are at or above 0.87 to no document at all.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from corpora import vocabulary, zipf_words

from pile_tools.algorithms.jaccard import intersection_sizes, jaccard
from pile_tools.algorithms.shingle import shingle_sets
from pile_tools.formats.zstd import RowFrameWriter
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import DedupJob, resolve_job

THRESHOLD = 0.87


def edit(rng: np.random.RandomState, words: np.ndarray, text: np.ndarray, target: float) -> np.ndarray:
    """A copy of ``text`` whose similarity with it is about ``target``."""
    copy = text.copy()
    lost = len(text) * (1 - target) / (1 + target)
    if rng.rand() < 0.3:  # one passage
        start = rng.randint(0, max(1, len(text) - int(lost)))
        copy[start : start + int(lost)] = zipf_words(rng, words, len(copy[start : start + int(lost)]))
        return copy
    places = rng.choice(len(text), max(int(lost / 5), int(rng.rand() < lost / 5)), replace=False)
    copy[places] = zipf_words(rng, words, len(places))
    return copy


def cluster(rng: np.random.RandomState, words: np.ndarray, size: int) -> list[np.ndarray]:
    base = zipf_words(rng, words, int(rng.choice([60, 150, 400, 2000])))
    documents = [base]
    chain = rng.rand() < 0.3
    while len(documents) < size:
        documents.append(edit(rng, words, documents[-1] if chain else base, rng.uniform(0.6, 1.0)))
    return documents


def similarities(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs (a, b) of a cluster and their exact similarity."""
    data = [" ".join(words).encode() for words in documents]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    values, ends = shingle_sets(np.frombuffer(b"".join(data), np.uint8), offsets, 5)
    a, b = (np.ascontiguousarray(side) for side in np.triu_indices(len(documents), 1))
    sizes = np.diff(ends)
    return a, b, jaccard(intersection_sizes(values, ends, a, b, 0.0), sizes[a], sizes[b])


def measure(
    job: DedupJob, corpus: Path, output: Path, exact: dict[tuple[int, int], float], n: int
) -> list[str]:
    manifest = dedup([corpus], output, job)
    rows = pq.read_table(output / "dedup.parquet").to_pylist()
    component = {row["row"]: row["component"] for row in rows}
    kept_of = {}
    # What stays is named by some document of its component, or by one that is named so.
    for row in rows:
        if row["duplicate_of_row"] not in component:
            kept_of[row["component"]] = row["duplicate_of_row"]
    component |= {kept: number for number, kept in kept_of.items()}
    pairs = [pair for pair, value in exact.items() if value >= THRESHOLD]
    found = sum(component.get(a, -1 - a) == component.get(b, -1 - b) for a, b in pairs)
    near: dict[int, set[int]] = {}
    for a, b in pairs:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    good = 0
    for row in rows:
        me, other = row["row"], row["duplicate_of_row"]
        if row["jaccard"] is not None:
            true = exact.get((min(me, other), max(me, other)), 0.0)
            good += true == row["jaccard"] and true >= THRESHOLD
        else:
            good += any(component.get(x) == row["component"] for x in near.get(me, ()))
    wrong = sum(row["row"] not in near for row in rows)
    bands = f"{manifest.parameters['bands']} × {manifest.parameters['rows']}"
    return [
        job.verify,
        bands,
        f"{len(pairs):,}",
        f"{100 * found / len(pairs):.2f} %",
        f"{len(rows):,}",
        f"{100 * good / len(rows):.2f} %",
        f"{wrong:,}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=300)
    options = parser.parse_args()
    rng = np.random.RandomState(11)
    words = np.array(vocabulary(), dtype=object)
    sizes = np.concatenate([[500, 300, 100, 100], rng.choice([2, 3, 5, 10, 30], options.clusters)])
    documents: list[tuple[int, np.ndarray]] = []
    clusters = []
    for number, size in enumerate(sizes):
        clusters.append(cluster(rng, words, int(size)))
        documents += [(number, text) for text in clusters[-1]]
    order = rng.permutation(len(documents))
    place = np.empty(len(documents), dtype=np.int64)
    place[order] = np.arange(len(documents))
    exact: dict[tuple[int, int], float] = {}
    start = 0
    for members in clusters:
        own = place[start : start + len(members)]
        start += len(members)
        a, b, values = similarities(members)
        for one, two, value in zip(own[a].tolist(), own[b].tolist(), values.tolist(), strict=True):
            exact[min(one, two), max(one, two)] = value
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "planted.jsonl.zst"
        with corpus.open("wb") as file:
            writer = RowFrameWriter(file)
            for i in order:
                writer.write(json.dumps({"text": " ".join(documents[i][1])}).encode() + b"\n")
            writer.close()
        print(f"{len(documents):,} documents in {len(sizes)} clusters, {len(exact):,} pairs")
        print("| verify | bands × rows | pairs ≥ 0.87 | found | removed | with a partner | wrongly removed |")
        print("| " + " | ".join(["---"] * 7) + " |", flush=True)
        for i, job in enumerate([resolve_job(), resolve_job(preset="datasketch")]):
            cells = measure(job, corpus, Path(name) / f"out{i}", exact, len(documents))
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
