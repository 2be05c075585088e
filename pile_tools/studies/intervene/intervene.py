"""Counterfactual streams: what a stream would be if words were others, or documents elsewhere or not there.

The result is an overlay (``formats.overlay_json``): it holds what changes and no copy of the tokens, and
``BatchViewer`` opens it like any dataset. Biderman et al. 2023 swap masculine for feminine pronouns in the
last 7 % and 21 % of training, and train those again.
"""

import functools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from pile_tools.errors import ParameterError
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.jobs.workspace import Workspace
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.manifest import MANIFEST_NAME
from pile_tools.storage.store import Io
from pile_tools.stream.opening import open_location
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.changed_samples import ChangedSamples, change_samples
from pile_tools.studies.intervene.dataset_tokenizer import dataset_tokenizer
from pile_tools.studies.intervene.intervention import Intervention, overlay_parameters
from pile_tools.studies.intervene.overlay_writer import STAGE, finish_overlay, write_overlay
from pile_tools.studies.intervene.sample_range import sample_range
from pile_tools.studies.intervene.suite_parent import open_suite_parent

__all__ = ["Change", "Intervention", "intervene"]


@dataclass(frozen=True, slots=True)
class Change:
    """What `intervene` made. ``samples`` counts those that are packed anew, of ``range_samples`` in the
    range; ``repeated`` and ``cut`` the tokens that fill them or that no longer fit. ``swaps`` counts pairs
    of tokens that are swapped wherever they stand, ``words`` the pairs of whole words that are swapped in the
    text, which is re-tokenised."""

    output: Path
    parent: str
    from_step: int
    to_step: int
    range_samples: int
    samples: int
    repeated: int
    cut: int
    swaps: int
    words: int
    existed: bool = False


def intervene(
    data: str | os.PathLike[str],
    output: Path,
    intervention: Intervention,
    *,
    from_step: int,
    to_step: int | None = None,
    order: str | None = None,
    batch_size: int | None = None,
    tokenizer: str | None = None,
    suite: str | None = None,
    io: Io = "mmap",
    cache: BlockCache | None = None,
    progress: Progress = no_progress,
) -> Change:
    """Write the overlay of the stream at ``data`` that ``intervention`` makes in steps [from_step, to_step).

    ``to_step`` is the stream's end unless given; ``suite`` names the stream of a suite in place of ``data``.
    Samples outside of the range keep every byte. Raises
    ParameterError for an intervention that cannot be made (a word that is not one token, a cycle, documents
    of a stream that has no boundaries, …) and OutOfRangeError for steps or documents that are not there.
    """
    if intervention.is_empty:
        raise ParameterError("nothing to change; name a table with --swap, or documents with --drop, …")
    if suite is None:
        stream = open_location(data, order, io, cache)
    else:
        data, stream = open_suite_parent(suite, output, order, io, cache)
    stream.components[0].prove()
    if stream.blend is not None:
        raise ParameterError(
            f"{stream.place.name}: a blend; intervene in the stream of one of its datasets (--data DATASET "
            f"--order {stream.place.store.name}/orders/{stream.components[0].place.label}), and blend again"
        )
    batch = stream.batch_size if batch_size is None else batch_size
    if batch is None or batch < 1:
        raise ParameterError(f"{stream.place.name}: give a batch size of at least 1 with --batch-size")
    samples = sample_range(stream, batch, from_step, to_step, progress)
    parent = stream.identity()
    parameters = overlay_parameters(intervention, samples.from_step, samples.to_step, batch)
    parameters["parent"] = parent
    added = AddedDocuments(samples.component, threading.Lock())
    changed = ChangedSamples()
    if not (output / MANIFEST_NAME).exists():  # nothing is written where it cannot be made
        load = functools.cache(lambda: dataset_tokenizer(samples.component.dataset, tokenizer))
        changed = change_samples(samples, intervention, added, load)
    with Workspace(output, stage=STAGE, parameters=parameters, inputs=[]) as space:
        if space.finished is None:
            record = write_overlay(space.directory, samples, changed, added, parent)
            counts = {
                "range_samples": samples.last - samples.first,
                "samples": len(changed.samples),
                "repeated": changed.repeated,
                "cut": changed.cut,
                "swaps": len(changed.swaps),
                "words": changed.words,
                "added_documents": record.added_documents,
            }
            finish_overlay(space, data, stream, parameters, record, counts)
        else:
            counts = dict(space.finished.counts)
    counts = {key: value for key, value in counts.items() if key != "added_documents"}
    return Change(
        output, parent, samples.from_step, samples.to_step, **counts, existed=space.finished is not None
    )
