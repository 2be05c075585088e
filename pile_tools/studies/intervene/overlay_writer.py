"""Overlay files: the changed samples, the added documents, the record, and the manifest last."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers

from pile_tools.errors import MissingFileError, ParameterError
from pile_tools.formats.index_maps import find_order
from pile_tools.formats.npy import write_array
from pile_tools.formats.overlay_json import (
    DOCUMENTS_NAME,
    OVERLAY_NAME,
    PIECES_NAME,
    SAMPLES_NAME,
    OverlayRecord,
    ParentPlace,
)
from pile_tools.jobs.workspace import Workspace
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FileEntry, Manifest, file_entry
from pile_tools.storage.urls import is_url, without_credentials
from pile_tools.stream.opening import OpenedStream
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.changed_samples import ChangedSamples
from pile_tools.studies.intervene.sample_range import SampleRange

__all__ = ["STAGE", "finish_overlay", "write_overlay"]

STAGE: Final = "intervene"


def write_overlay(
    directory: Path, samples: SampleRange, changed: ChangedSamples, added: AddedDocuments, parent: str
) -> OverlayRecord:
    """Write everything but the manifest and the place of the parent into ``directory``."""
    files: list[FileEntry] = []
    if changed.samples:
        ordered = sorted(changed.samples.items())
        counts = [len(pieces) for _, pieces in ordered]
        starts = np.cumsum([0, *counts[:-1]])
        listed = np.stack([np.array([sample for sample, _ in ordered]), starts], axis=1).astype(np.int64)
        pieces = np.array([piece for _, pieces in ordered for piece in pieces], np.int64)
        files = [
            write_array(directory / SAMPLES_NAME, listed),
            write_array(directory / PIECES_NAME, pieces),
        ]
        if changed.documents:
            documents = np.array(sorted(changed.documents), np.int64)
            files.append(write_array(directory / DOCUMENTS_NAME, documents))
    files += added.write(directory)
    record = OverlayRecord(
        parent=parent,
        first_sample=samples.first,
        last_sample=samples.last,
        batch_size=samples.batch,
        swaps=changed.swaps,
        added_documents=len(added),
        files=tuple(files),
    )
    with atomic_write(directory / OVERLAY_NAME) as file:
        file.write(record.to_bytes())
    return record


def finish_overlay(
    space: Workspace,
    data: str | os.PathLike[str],
    stream: OpenedStream,
    parameters: dict[str, Any],
    record: OverlayRecord,
    counts: dict[str, int],
) -> None:
    """Write where the parent, opened from ``data``, is, and then the manifest."""
    location = relative_location(space.directory, os.fspath(data))
    ParentPlace(location, order_name(stream, space.directory)).write(space.directory)
    manifest = stream.components[0].dataset.manifest
    space.finish(
        Manifest(
            stage=STAGE,
            parameters=parameters,
            inputs=[],
            outputs=[*record.files, file_entry(space.directory / OVERLAY_NAME)],
            counts=counts,
            parents=[record.parent, *([manifest.identity] if manifest is not None else [])],
            versions={"tokenizers": tokenizers.__version__} if counts["words"] or counts["swaps"] else {},
        )
    )


def relative_location(directory: Path, location: str) -> str:
    """Return ``location``, a URL or a path, as a path relative to ``directory`` where it is one."""
    return without_credentials(location) if is_url(location) else os.path.relpath(location, directory)


def order_name(stream: OpenedStream, directory: Path) -> str:
    """Return the label of the order of ``stream``, with the way to it where it is not beside its dataset."""
    order, dataset = stream.place, stream.components[0].dataset
    try:
        beside = find_order(dataset.store, dataset.prefix, order.label)
    except (MissingFileError, ParameterError):
        beside = None
    if beside is not None and beside.store.name == order.store.name:
        return order.label
    return relative_location(directory, f"{order.store.name}/{order.label}")
