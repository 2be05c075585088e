"""What a deduplication did, in the integers that its manifest keeps and its summary shows."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pile_tools.formats.npy import NpyFile
from pile_tools.stages.dedup.work_files import CorpusFiles, read_info
from pile_tools.stages.dedup.write import Written

__all__ = ["READ_COUNTS", "count_everything", "histograms", "in_order", "summary"]

READ_COUNTS = (
    "documents",
    "text_bytes",
    "blank_lines",
    "skipped_records",
    "oversized_records",
    "repaired_documents",
    "replaced_characters",
)

_SOURCE_FIELDS = ("documents", "removed", "bytes", "removed_bytes")


def _size_bin(size: int) -> str:
    """Components of 2, 3 and 4, then 5-8, 9-16 and so on."""
    if size <= 4:
        return str(size)
    high = 1 << (size - 1).bit_length()
    return f"{high // 2 + 1}-{high}"


def histograms(files: CorpusFiles) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many components there are by size, and removed documents by similarity.

    A component's size counts what was removed and what stays; a similarity falls into the hundredth
    below it, and there is none where nothing was verified.
    """
    sizes: dict[int, int] = {}
    similarities: dict[str, int] = {}
    file = NpyFile.open(files.paths.decision)
    for start in range(0, len(file), 1 << 18):
        rows = file.read(start, min(start + (1 << 18), len(file)))
        for number, count in zip(*np.unique(rows["component"], return_counts=True), strict=True):
            sizes[int(number)] = sizes.get(int(number), 1) + int(count)
        verified = rows[rows["union"] > 0]
        hundredths = verified["common"] * 100 // verified["union"]
        for value, count in zip(*np.unique(hundredths, return_counts=True), strict=True):
            name = f"{int(value) // 100}.{int(value) % 100:02}"
            similarities[name] = similarities.get(name, 0) + int(count)
    components: dict[str, int] = {}
    for size in sizes.values():
        components[_size_bin(size)] = components.get(_size_bin(size), 0) + 1
    return components, similarities


def in_order(histogram: Mapping[str, int]) -> dict[str, int]:
    """A histogram by ascending bins; a manifest has its keys in the order of their letters."""
    return dict(sorted(histogram.items(), key=lambda item: float(item[0].split("-")[0])))


def count_everything(files: CorpusFiles, shards: Iterable[int]) -> dict[str, Any]:
    """The counts of a manifest, over the shards with numbers ``shards``."""
    counts: dict[str, Any] = dict.fromkeys(READ_COUNTS, 0)
    sources: dict[str | None, list[int]] = {}
    counts["removed"] = counts["kept"] = 0
    for shard in shards:
        info = read_info(files.paths.info(shard))
        for name in READ_COUNTS:
            counts[name] += info[name]
        written = Written.read(files.paths.written(shard))
        counts["removed"] += written.removed
        counts["kept"] += written.kept
        for source, sums in written.sources:
            old = sources.setdefault(source, [0] * len(_SOURCE_FIELDS))
            sources[source] = [one + two for one, two in zip(old, sums, strict=True)]
    counts["sources"] = {name: _with_kept(sums) for name, sums in sources.items() if name is not None}
    if None in sources:
        counts["without_source"] = _with_kept(sources[None])
    counts["removed_bytes"] = sum(sums[3] for sums in sources.values())
    counts["kept_bytes"] = counts["text_bytes"] - counts["removed_bytes"]
    counts["components"], counts["similarities"] = histograms(files)
    return counts


def summary(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a manifest in the order in which they are shown, whether just made or read again."""
    ordered = dict(sorted(counts.items()))
    ordered["sources"] = {
        name: dict(sorted(sums.items())) for name, sums in sorted(counts["sources"].items())
    }
    if "without_source" in counts:
        ordered["without_source"] = dict(sorted(counts["without_source"].items()))
    for name in ("components", "similarities"):
        ordered[name] = in_order(counts[name])
    return ordered


def _with_kept(sums: list[int]) -> Mapping[str, int]:
    values = dict(zip(_SOURCE_FIELDS, sums, strict=True))
    values["kept"] = values["documents"] - values["removed"]
    values["kept_bytes"] = values["bytes"] - values["removed_bytes"]
    return values
