"""Fetch some steps of a stream into a small token dataset that keeps their step numbers."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.index_maps import SEQUENTIAL
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.order_json import ORDER_NAME, OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.jobs.workspace import Workspace
from pile_tools.stages.fetch.origins import write_origins
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.free_space import require_space
from pile_tools.storage.manifest import FileEntry, Manifest, file_entry
from pile_tools.storage.store import LocalStore
from pile_tools.viewer import BatchViewer

__all__ = ["Fetched", "fetch_steps"]

_PREFIX: Final = "document"
_TOKENIZER_NAME: Final = "tokenizer.json"
_CONCURRENT: Final = 4


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch_steps` wrote; ``no_tokenizer`` says why no tokenizer came along, None where one did."""

    manifest: Manifest
    no_tokenizer: str | None


def fetch_steps(
    viewer: BatchViewer,
    start: int,
    stop: int,
    output: Path,
    progress: Progress = no_progress,
    *,
    label: str = "fetch",
    tokens_only: bool = False,
) -> Fetched:
    """Write steps [start, stop) of ``viewer`` into the directory ``output`` as a token dataset with an order.

    The dataset holds the samples themselves, one after the other, and its order numbers its steps as the
    stream does. Where the stream knows documents, what pieces of them the samples are comes along, with their
    addresses and sources (see ``formats.origins_json``), so that the steps answer what the stream does;
    unless ``tokens_only``, which of a stream behind a URL spares reading where its documents came from.

    ``progress`` is told of the steps as ``label``, then of the "origins" of sequences and of "documents". A
    run that was interrupted goes on where it ended; a finished directory is left as it is. Raises
    OutOfRangeError for steps that the stream does not have, OccupiedError where ``output`` holds something
    else, BusyError where another run is at work in it, and DataError where a file of a finished one is gone
    or cut.
    """
    viewer.batches(start, stop)
    parameters = {
        "stream": viewer.identity,
        "order": viewer.order.label,
        "suite": viewer.suite.name if viewer.suite else None,
        "steps": f"{start}:{stop}",
        "batch_size": viewer.batch_size,
        "seq_length": viewer.seq_length,
        "dtype": viewer.dtype.name,
        "origins": not tokens_only,
    }
    with Workspace(
        output,
        stage="fetch",
        parameters=parameters,
        inputs=[],
        begun="begun with other steps or another stream",
    ) as space:
        if space.finished is not None:
            return Fetched(space.finished, None)
        if not tokens_only:
            _check_history(viewer)
        _fetch(viewer, start, stop, space, progress, label)
        return _finish(viewer, start, stop, space, parameters, progress)


def _fetch(
    viewer: BatchViewer,
    start: int,
    stop: int,
    space: Workspace,
    progress: Progress,
    label: str,
) -> None:
    """Fetch the steps that are not in the work folder yet."""
    work = space.work
    missing = [step for step in range(start, stop) if not _part(work, step).is_file()]
    # The steps stay beside the data until all of it is in its place.
    step_bytes = viewer.batch_size * (viewer.seq_length + 1) * viewer.dtype.itemsize
    require_space(space.directory, (len(missing) + stop - start) * step_bytes)
    progress(label, stop - start - len(missing), stop - start)

    def one(step: int) -> None:
        tokens = viewer.batch(step)
        with atomic_write(_part(work, step)) as file:
            file.write(tokens.data)

    with ThreadPoolExecutor(_CONCURRENT) as pool:
        futures = [pool.submit(one, step) for step in missing]
        try:
            for left, future in zip(reversed(range(len(missing))), futures, strict=True):
                future.result()
                progress(label, stop - start - left, stop - start)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _check_history(viewer: BatchViewer) -> None:
    """Raise DataError where the history that comes along is not whole, before anything long is read."""
    for part in viewer.stream.parts:
        try:
            part.check_carried()
        except DataError as error:
            raise DataError(
                f"{error}, or leave out where documents came from: `pile-tools fetch --tokens-only`"
            ) from None


def _part(work: Path, step: int) -> Path:
    return work / f"step-{step}.bin"


def _finish(
    viewer: BatchViewer,
    start: int,
    stop: int,
    space: Workspace,
    parameters: Mapping[str, Any],
    progress: Progress,
) -> Fetched:
    """Lay the steps end to end, describe them, and finish ``space``."""
    output = space.directory
    rows, row_tokens = (stop - start) * viewer.batch_size, viewer.seq_length + 1
    with atomic_write(output / f"{_PREFIX}.bin") as target:
        for step in range(start, stop):
            part = _part(space.work, step)
            if part.stat().st_size != viewer.batch_size * row_tokens * viewer.dtype.itemsize:
                raise DataError(f"{part}: not as long as a step; remove it and run again")
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
    write_index(output / f"{_PREFIX}.idx", viewer.dtype, np.full(rows, row_tokens, np.int32))
    origins, parents = None, []
    others: list[FileEntry] = []
    if parameters["origins"]:
        origins, others = write_origins(viewer, start, stop, output, progress)
        parents = sorted({dataset.manifest for dataset in origins.datasets if dataset.manifest is not None})
    try:
        tokenizer, reason = viewer.stream.tokenizer_content(), None
    except UnfinishedError:  # a server that asks to wait has one
        raise
    except PileToolsError as error:
        tokenizer, reason = None, str(error)
    if tokenizer is not None:
        with atomic_write(output / _TOKENIZER_NAME) as file:
            file.write(tokenizer)
        others.append(file_entry(output / _TOKENIZER_NAME))
    dataset = TokenDataset(LocalStore(output), _PREFIX)
    OrderRecord(
        label=f"{_PREFIX}_steps_{start}_to_{stop}",
        recipe=SEQUENTIAL,
        name="steps",
        seed=0,
        seq_length=viewer.seq_length,
        batch_size=viewer.batch_size,
        num_samples=stop * viewer.batch_size,
        samples=rows,
        steps=stop - start,
        epochs=1,
        documents=(0, rows),
        split=None,
        index=dataset.index_identity,
        dataset=dataset.identity,
        manifest=None,
        sequences=rows,
        data_bytes=dataset.data_bytes,
        files=(),
        first_sample=start * viewer.batch_size,
        origins=None if origins is None else origins.identity,
    ).write(output / ORDER_NAME)
    entries = [file_entry(output / name) for name in (f"{_PREFIX}.bin", f"{_PREFIX}.idx", ORDER_NAME)]
    manifest = Manifest("fetch", parameters, [], [*entries, *others], parents=parents)
    space.finish(manifest)
    return Fetched(manifest, reason)
