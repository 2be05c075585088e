"""A picture of what a deduplication removed: components by size, removed documents by similarity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pile_tools.formats.atomic import atomic_write
from pile_tools.stages.dedup_report import in_order

__all__ = ["plot_histograms"]


def plot_histograms(counts: Mapping[str, Any], path: Path) -> None:
    """Draw the histograms of the manifest's ``counts`` into the picture ``path``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes, similarities = in_order(counts["components"]), in_order(counts["similarities"])
    left.bar(list(sizes), list(sizes.values()))
    left.set(xlabel="documents in a component", ylabel="components", yscale="log" if sizes else "linear")
    right.bar(list(similarities), list(similarities.values()))
    right.set(xlabel="exact similarity with the partner (hundredth below)", ylabel="removed documents")
    right.tick_params(axis="x", rotation=90)
    if not similarities:
        right.text(0.5, 0.5, "nothing was verified", ha="center", transform=right.transAxes)
    with atomic_write(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=150)
