"""Why a document was removed: its partner, their texts, and how similar they are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.algorithms.jaccard import intersection_sizes, jaccard
from pile_tools.algorithms.shingle import shingle_sets
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.corpus import Shard, list_shards
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.manifest import Manifest
from pile_tools.stages.dedup_tables import DEDUP_NAME
from pile_tools.stages.dedup_write import INPUTS_NAME

__all__ = ["Explanation", "explain"]

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Explanation:
    """One document of a deduplicated corpus.

    Of a removed one ``partner`` is the (shard, row) that `dedup.parquet` names, with its text, the
    recorded similarity (None where nothing was verified) and the exact one of the two texts. Of one that
    stays ``duplicates`` are the removed documents that name it, at most a hundred.
    """

    shard: str
    row: int
    text: str
    partner: tuple[str, int] | None
    partner_text: str
    recorded: float | None
    similarity: float
    component: int
    duplicates: tuple[tuple[str, int], ...]


def _similarity(one: str, two: str, ngram: int) -> float:
    data = [one.encode(), two.encode()]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    values, ends = shingle_sets(np.frombuffer(b"".join(data), np.uint8), offsets, ngram)
    if ends[1] == 0 or ends[2] == ends[1]:
        return 0.0
    sizes = np.diff(ends)
    common = intersection_sizes(values, ends, np.array([0]), np.array([1]), 0.0)
    return float(jaccard(common, sizes[:1], sizes[1:])[0])


def _find_shard(output: Path, manifest: Manifest, name: str, corpus: Sequence[Path]) -> Shard:
    """The input shard ``name``: where it was, or among ``corpus``; its size must be that of the manifest."""
    entry = next((entry for entry in manifest.inputs if entry.name == name), None)
    if entry is None:
        names = [entry.name for entry in manifest.inputs if entry.documents is not None]
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ParameterError(f"{output}: no input shard called {name!r}; they are {shown}")
    own_name = name.split(":", 1)[-1]
    if corpus:
        path = next((shard.path for shard in list_shards(corpus) if shard.name in (name, own_name)), None)
    else:
        where = orjson.loads((output / INPUTS_NAME).read_bytes()) if (output / INPUTS_NAME).exists() else {}
        path = Path(os.path.normpath(output / where[name])) if name in where else None
    if path is None or not path.is_file():
        raise PileToolsError(
            f"{path or name}: the shard is not where it was; say where its corpus is with `--corpus`"
        )
    if path.stat().st_size != entry.bytes:
        raise DataError(f"{path}: {path.stat().st_size} bytes, but {entry.bytes} when it was deduplicated")
    return Shard(path, own_name)


def _text(shard: Shard, row: int, parameters: dict[str, Any]) -> str:
    if row < 0:
        raise OutOfRangeError(f"{shard.path}: row {row}; rows are numbered from 0")
    wanted = np.zeros(row + 1, dtype=np.bool_)
    wanted[row] = True
    reader = ShardReader(
        shard,
        text_field=parameters["text_field"],
        source_field=parameters["source_field"],
        on_bad_record=parameters["on_bad_record"],
        max_record_bytes=parameters["max_document_bytes"],
        batch_bytes=1,
        only_rows=wanted,
    )
    batch = next(iter(reader), None)
    if batch is None:
        raise OutOfRangeError(f"{shard.path}: no document in row {row}")
    return batch.texts()[0]


def _rows_where(table: Path, columns: tuple[str, str], shard: str, row: int) -> list[dict[str, Any]]:
    shard_column, row_column = columns
    condition = (pc.field(shard_column) == shard) & (pc.field(row_column) == row)
    found: list[dict[str, Any]] = pq.read_table(table, filters=condition).slice(0, _LISTED).to_pylist()
    return found


def explain(output: Path, shard: str, row: int, *, corpus: Sequence[Path] = ()) -> Explanation:
    """Explain what became of document ``row`` of input shard ``shard`` in the output of `dedup`.

    The texts are read from the inputs where they were, or from ``corpus``. Raises ParameterError for a
    shard that was no input, OutOfRangeError for a row without a document, PileToolsError where the text
    is not found, DataError where it is not what was deduplicated.
    """
    manifest = Manifest.read(output)
    if manifest.stage != "dedup":
        raise ParameterError(f"{output}: made by `pile-tools {manifest.stage}`, not by `pile-tools dedup`")
    parameters = dict(manifest.parameters)
    text = _text(_find_shard(output, manifest, shard, corpus), row, parameters)
    table = output / DEDUP_NAME
    own = next(iter(_rows_where(table, ("shard", "row"), shard, row)), None)
    if own is None:
        naming = _rows_where(table, ("duplicate_of_shard", "duplicate_of_row"), shard, row)
        duplicates = tuple((found["shard"], found["row"]) for found in naming)
        component = naming[0]["component"] if naming else -1
        return Explanation(shard, row, text, None, "", None, 0.0, component, duplicates)
    partner = (own["duplicate_of_shard"], own["duplicate_of_row"])
    partner_text = _text(_find_shard(output, manifest, partner[0], corpus), partner[1], parameters)
    similarity = _similarity(text, partner_text, parameters.get("ngram", 5))
    recorded = own["jaccard"]
    if recorded is not None and parameters["method"] == "minhash" and recorded != similarity:
        raise DataError(
            f"{table}: similarity {recorded} recorded for {shard}:{row}, but the texts have {similarity}; "
            "the corpus has changed since"
        )
    return Explanation(shard, row, text, partner, partner_text, recorded, similarity, own["component"], ())
