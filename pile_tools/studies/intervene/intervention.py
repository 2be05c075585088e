"""Interventions in a training stream, and the parameters that identify the overlay of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pile_tools.storage.manifest import sha256_file
from pile_tools.studies.intervene.selection import is_file_selection
from pile_tools.studies.intervene.swap_table import read_swap_table

__all__ = ["Intervention", "overlay_parameters"]


@dataclass(frozen=True, slots=True)
class Intervention:
    """What is to be changed, as it is spelled on the command line.

    ``swap``: a table's file, or "pronouns"; ``drop``: selections of documents (``select_documents``);
    ``replace``: pairs of a selection and a document's number or a text file; ``move``: pairs of a selection
    and a step.
    """

    swap: str | None = None
    allow_length_change: bool = False
    drop: Sequence[str] = ()
    replace: Sequence[tuple[str, str]] = ()
    move: Sequence[tuple[str, int]] = ()

    @property
    def is_empty(self) -> bool:
        return self.swap is None and not (self.drop or self.replace or self.move)


def overlay_parameters(
    intervention: Intervention, from_step: int, to_step: int, batch_size: int
) -> dict[str, Any]:
    """Return what the overlay depends on; files by their content."""

    def content(name: str, is_file: bool) -> str:
        return f"{Path(name).name} {sha256_file(name)}" if is_file and Path(name).is_file() else name

    def selected(selection: str) -> str:
        return content(selection, is_file_selection(selection))

    swap = intervention.swap
    return {
        "from_step": from_step,
        "to_step": to_step,
        "batch_size": batch_size,
        "swap": None if swap is None else [list(pair) for pair in read_swap_table(swap)],
        "allow_length_change": intervention.allow_length_change,
        "drop": [selected(selection) for selection in intervention.drop],
        "replace": [
            [selected(selection), content(other, not other.isdecimal())]
            for selection, other in intervention.replace
        ],
        "move": [[selected(selection), step] for selection, step in intervention.move],
    }
