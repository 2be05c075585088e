"""Tables on a terminal: numbers right, texts left, as wide as the terminal and no wider where that can be."""

import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "LARGEST",
    "Cell",
    "display_width",
    "fold_rows",
    "pad",
    "print_arrow",
    "print_table",
    "print_text",
    "shorten",
    "terminal_width",
    "wrap",
]

Cell = str | int | float | None

LARGEST: Final = 10
"""Sources that are shown by name unless all are asked for."""

# Numbers that name a thing are shown as options take them, without separators.
_NAMES: Final = {
    *("step", "row", "position", "offset", "document", "dataset", "rank", "epoch", "start", "checkpoint"),
    *("original row", "first_step", "sequence"),
}
_LEAST_TEXT: Final = 8
_UNITS: Final = ("k", "M", "G", "T")


def terminal_width() -> int:
    """Return the columns of the terminal: $COLUMNS where it is set, 80 where there is no terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def display_width(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal: two for a wide character, none for a mark."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def shorten(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, with "…" for its middle where it is longer."""
    if display_width(text) <= width:
        return text
    room = width - 1
    head, tail = _prefix(text, room - room // 2), _prefix(text[::-1], room // 2)[::-1]
    return f"{head}…{tail}"


def _prefix(text: str, width: int) -> str:
    """Return the longest beginning of ``text`` that takes at most ``width`` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _character_width(character)
        if used > width:
            return text[:index]
    return text


def pad(text: str, width: int) -> str:
    """Return ``text`` with spaces after it up to ``width`` columns."""
    return text + " " * (width - display_width(text))


def wrap(text: str, width: int) -> list[str]:
    """Return the words of ``text`` in lines of at most ``width`` columns; a longer word is cut."""
    lines = [""]
    for word in text.split():
        used = display_width(lines[-1])
        if used and used + 1 + display_width(word) <= width:
            lines[-1] += f" {word}"
            continue
        if used:
            lines.append("")
        while display_width(word) > width:
            lines[-1] = _prefix(word, width) or word[0]
            word = word[len(lines[-1]) :]
            lines.append("")
        lines[-1] = word
    return [line for line in lines if line]


def print_text(text: str, indent: str = "", *, err: bool = False) -> None:
    """Print a paragraph no wider than the terminal; long words, such as URLs, stay whole."""
    lines = textwrap.wrap(
        text,
        terminal_width(),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines), err=err)


def print_arrow(table: "pa.Table") -> None:
    """Print an Arrow table of numbers and short texts, "-" for null."""
    print_table(table.column_names, [tuple(row.values()) for row in table.to_pylist()])


def print_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print ``rows`` under ``header``, "-" for None.

    Whole numbers have separators, except those that name a thing, as a step does. A table that is wider than
    the terminal gets narrower gaps, then shorter texts, headers of several lines, and at last large numbers
    in thousands, millions or more, which its header says.
    """
    columns = [_Column.of(name, [row[index] for row in rows]) for index, name in enumerate(header)]
    gap = _fit(columns, terminal_width())
    labels = [column.header_lines() for column in columns]
    height = max(len(lines) for lines in labels)
    lines = [[*([""] * (height - len(lines))), *lines] for lines in labels]
    bodies = [column.texts() for column in columns]
    for cells in [*zip(*lines, strict=True), *zip(*bodies, strict=True)]:
        aligned = [column.align(cell) for column, cell in zip(columns, cells, strict=True)]
        click.echo((" " * gap).join(aligned).rstrip())


def fold_rows(rows: Sequence[tuple[Any, ...]], what: str, *, limit: int | None = LARGEST) -> list[Any]:
    """Return the first ``limit`` of ``rows`` (name, number, …) and a row of the sums of all others.

    ``what`` is what the rows are of, in the plural. All rows are returned where ``limit`` is None, or where
    there is only one more: its own row is as short.
    """
    if limit is None or len(rows) <= limit + 1:
        return list(rows)
    rest = rows[limit:]
    sums = (sum(column) for column in zip(*(row[1:] for row in rest), strict=True))
    return [*rows[:limit], (f"({len(rest):,} other {what})", *sums)]


@dataclass(slots=True)
class _Column:
    """A column: ``width`` is what it is cut to, ``unit`` how often its numbers are divided by 1,000."""

    name: str
    cells: list[Cell]
    is_text: bool
    width: int = 0
    wrapped: bool = False
    unit: int = 0

    @classmethod
    def of(cls, name: str, cells: list[Cell]) -> "_Column":
        shown = [_printable(cell) for cell in cells]
        column = cls(name, shown, any(isinstance(cell, str) for cell in shown))
        column.measure()
        return column

    def measure(self) -> None:
        """Set ``width`` to what header and cells take."""
        self.width = max(map(display_width, [*self.header_lines(), *self.texts()]), default=0)

    @property
    def least(self) -> int:
        """The width that a text is not cut below."""
        return max(_LEAST_TEXT, *map(display_width, self.header_lines()))

    def header_lines(self) -> list[str]:
        label = f"{self.name} ({_UNITS[self.unit - 1]})" if self.unit else self.name
        return (label.split(" ") if self.wrapped else [label]) or [""]

    def texts(self) -> list[str]:
        return [self._text(cell) for cell in self.cells]

    def _text(self, cell: Cell) -> str:
        if cell is None:
            return "-"
        if isinstance(cell, str):
            return cell
        if isinstance(cell, float):
            return f"{cell:.4f}"
        if self.unit:
            scaled = round(cell / 1000**self.unit)
            return "<1" if cell and not scaled else f"{scaled:,}"
        return str(cell) if self.name in _NAMES else f"{cell:,}"

    @property
    def scalable(self) -> bool:
        return (
            self.unit < len(_UNITS)
            and self.name not in _NAMES
            and not self.is_text
            and any(isinstance(cell, int) and cell >= 10_000 * 1000**self.unit for cell in self.cells)
        )

    def align(self, text: str) -> str:
        text = shorten(text, self.width)
        return pad(text, self.width) if self.is_text else " " * (self.width - display_width(text)) + text


def _printable(cell: Cell) -> Cell:
    if cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool)):
        return cell
    # A name from the data must not steer the terminal.
    return "".join(c if c.isprintable() else "\ufffd" for c in str(cell))


def _fit(columns: list[_Column], width: int) -> int:
    """Make ``columns`` fit into ``width`` as far as they can; return the spaces between them."""

    def excess(gap: int) -> int:
        return sum(column.width for column in columns) + gap * (len(columns) - 1) - width

    if excess(2) <= 0:
        return 2
    while excess(1) > 0:
        long = [column for column in columns if column.is_text and column.width > column.least]
        if long:
            max(long, key=lambda column: column.width).width -= 1
            continue
        wrappable = [column for column in columns if not column.wrapped and " " in column.name]
        scalable = [column for column in columns if column.scalable]
        for column in wrappable:
            column.wrapped = True
        if not wrappable:
            if not scalable:
                break
            largest = max(scalable, key=lambda column: column.width)
            largest.unit, largest.wrapped = largest.unit + 1, True
        for column in columns:  # texts get back what headers and numbers give up
            column.measure()
    return 1
