"""Pictures of what the lookups answer."""

import os
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.render.figures import figure

__all__ = ["plot_counts", "plot_mixture", "plot_repeats"]

MOST_LINES: Final = 9
"""A picture shows so many patterns, terms or sources, those with the most; the rest are in the table."""


def _column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table.column(name).to_pylist()
    return values


def plot_counts(table: pa.Table, path: str | os.PathLike[str], label: str) -> None:
    """Draw cumulative counts by checkpoint (columns checkpoint, ``label`` and count) into a PNG file.

    Of terms, those alone and not their pairs.
    """
    if "other" in table.column_names:
        table = table.filter(pc.is_null(table.column("other")))
    last = max(_column(table, "checkpoint"))
    final = table.filter(pc.equal(table.column("checkpoint"), last)).sort_by([("count", "descending")])
    with figure(path, width=8) as axes:
        for name in _column(final, label)[:MOST_LINES]:
            line = table.filter(pc.equal(table.column(label), name))
            steps, counts = _column(line, "checkpoint"), _column(line, "count")
            axes.plot(steps, counts, marker=".", linewidth=1.2, label=str(name))
        axes.set(xlabel="checkpoint (steps)", ylabel="occurrences before it", title=f"{label}s read")
        _finish(axes)


def plot_mixture(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Draw the share of each source over training into a PNG file."""
    names = list(dict.fromkeys(_column(table, "source")))
    starts = list(dict.fromkeys(_column(table, "start")))
    stops = list(dict.fromkeys(_column(table, "checkpoint")))
    shares = dict(
        zip(
            zip(_column(table, "start"), _column(table, "source"), strict=True),
            _column(table, "share"),
            strict=True,
        )
    )
    with figure(path, width=8) as axes:
        below = [0.0] * len(starts)
        shown, rest = names[:MOST_LINES], names[MOST_LINES:]
        rows = [([name], "no source" if name is None else str(name)) for name in shown]
        colours = [f"C{number}" for number in range(MOST_LINES + 1)]
        if rest:
            rows.append((rest, f"{len(rest)} more"))
            colours[len(shown)] = "lightgray"
        for (members, label), colour in zip(rows, colours, strict=False):
            heights = [sum(shares[start, name] for name in members) for start in starts]
            widths = [stop - start for start, stop in zip(starts, stops, strict=True)]
            axes.bar(starts, heights, widths, bottom=below, align="edge", label=label, color=colour)
            below = [one + two for one, two in zip(below, heights, strict=True)]
        axes.set(xlabel="step", ylabel="share of tokens", title="Tokens by source", ylim=(0, 1))
        _finish(axes, outside=True)


def plot_repeats(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Draw the shares of documents, samples and tokens that had been seen 0, 1, 2 … times into a PNG file."""
    kinds = list(dict.fromkeys(_column(table, "kind")))
    marks = sorted(set(_column(table, "checkpoint")))
    with figure(path, columns=len(kinds), width=4.5) as several:
        for axes, kind in zip(several, kinds, strict=True):
            part = table.filter(pc.equal(table.column("kind"), kind))
            rows = zip(*(_column(part, name) for name in ("checkpoint", "times", "count")), strict=True)
            counts = {(checkpoint, times): count for checkpoint, times, count in rows}
            total = sum(count for (checkpoint, _), count in counts.items() if checkpoint == marks[0]) or 1
            for times in sorted({times for _, times in counts})[:MOST_LINES]:
                shares = [counts.get((mark, times), 0) / total for mark in marks]
                label = f"{times} times" if times != 1 else "once"
                axes.plot(marks, shares, marker=".", linewidth=1.2, label=label)
            axes.set(xlabel="checkpoint (steps)", ylabel=f"share of {kind}", title=kind, ylim=(-0.02, 1.02))
            _finish(axes)


def _finish(axes: Any, outside: bool = False) -> None:
    axes.grid(visible=True, alpha=0.3)
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if outside else {}
    axes.legend(fontsize="small", **place)
