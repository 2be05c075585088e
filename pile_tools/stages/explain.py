"""Why a document was removed: its partner, their texts, and how similar they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.algorithms.jaccard import intersection_sizes, jaccard
from pile_tools.algorithms.shingle import shingle_sets
from pile_tools.algorithms.unicode_data import Normalization
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.history import History
from pile_tools.formats.names import check_name
from pile_tools.formats.store import LocalStore
from pile_tools.stages.dedup_job import RULES
from pile_tools.stages.dedup_tables import DEDUP_NAME
from pile_tools.stages.dedup_texts import InputTexts, TextGoneError

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One document of a deduplicated corpus.

    Of a removed one ``partner`` is the (shard, row) that `dedup.parquet` names, with its text, the
    recorded similarity (None where nothing was verified) and the exact one of the two texts, in the form
    ``normalization``. Where that text is no more, it and ``similarity`` are None and ``gone`` says what is
    missing. Of one that stays ``duplicates`` are the removed documents that name it. ``former_rules``:
    whether the recorded similarity is by the words of version 0.1.0, and not by those of today.
    """

    shard: str
    row: int
    text: str
    partner: tuple[str, int] | None
    partner_text: str | None
    recorded: float | None
    similarity: float | None
    component: int
    duplicates: tuple[tuple[str, int], ...]
    gone: str | None = None
    normalization: Normalization = "none"
    former_rules: bool = False


def _similarity(left: str, right: str, parameters: Mapping[str, Any]) -> float:
    if parameters["method"] == "text":
        return float(left == right)
    data = [left.encode(), right.encode()]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    text = np.frombuffer(b"".join(data), np.uint8)
    values, ends = shingle_sets(text, offsets, parameters["ngram"], parameters.get("normalize", "none"))
    if ends[1] == 0 or ends[2] == ends[1]:
        return 0.0
    sizes = np.diff(ends)
    common = intersection_sizes(values, ends, np.array([0]), np.array([1]), 0.0)
    return float(jaccard(common, sizes[:1], sizes[1:])[0])


def _rows_where(table: Path, columns: tuple[str, str], shard: str, row: int) -> list[dict[str, Any]]:
    shard_column, row_column = columns
    condition = (pc.field(shard_column) == shard) & (pc.field(row_column) == row)
    found: list[dict[str, Any]] = pq.read_table(table, filters=condition).to_pylist()
    for line in found:
        for name in (line["shard"], line["duplicate_of_shard"]):
            check_name(name, str(table))
    return found


def explain(output: Path, shard: str, row: int, *, corpus: Sequence[Path] = ()) -> Explanation:
    """Explain what became of document ``row`` of input shard ``shard`` in the output of `dedup`.

    The texts are read from the inputs where they were, or from ``corpus``. Raises ParameterError for a
    shard that was no input, OutOfRangeError for a row without a document, PileToolsError where its text
    is not found, DataError where a text is not what was deduplicated. A partner's text may be gone.
    """
    history = History.open(LocalStore(output))
    manifest = history.own
    if manifest.stage != "dedup":
        raise ParameterError(f"{output}: made by `pile-tools {manifest.stage}`, not by `pile-tools dedup`")
    parameters = dict(manifest.parameters)
    texts = InputTexts(output, history, corpus)
    text = texts.text(shard, row)
    table = output / DEDUP_NAME
    own = next(iter(_rows_where(table, ("shard", "row"), shard, row)), None)
    if own is None:
        naming = _rows_where(table, ("duplicate_of_shard", "duplicate_of_row"), shard, row)
        duplicates = tuple((found["shard"], found["row"]) for found in naming)
        component = naming[0]["component"] if naming else -1
        return Explanation(shard, row, text, None, None, None, None, component, duplicates)
    partner = (own["duplicate_of_shard"], own["duplicate_of_row"])
    recorded, component = own["jaccard"], own["component"]
    try:
        partner_text = texts.text(*partner)
    except TextGoneError as error:
        return Explanation(shard, row, text, partner, None, recorded, None, component, (), str(error))
    similarity = _similarity(text, partner_text, parameters)
    former_rules = parameters["method"] == "minhash" and parameters.get("rules") != RULES
    if recorded not in (None, similarity) and not former_rules:
        raise DataError(
            f"{table}: similarity {recorded} recorded for {shard}:{row}, but the texts have {similarity}; "
            "the table was changed since; deduplicate again"
        )
    return Explanation(
        shard,
        row,
        text,
        partner,
        partner_text,
        recorded,
        similarity,
        component,
        (),
        normalization=parameters.get("normalize", "none"),
        former_rules=former_rules,
    )
