"""Fetch some steps of a stream into a small token dataset that keeps their step numbers."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.atomic import PARTIAL_SUFFIX, atomic_write, sweep_partials
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.free_space import require_space
from pile_tools.formats.locks import LOCK_NAME, DirectoryLock, remove_stray_lock
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest, canonical_json, file_entry
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.order_files import SEQUENTIAL
from pile_tools.formats.order_record import ORDER_NAME, OrderRecord
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.stream import Progress, no_progress
from pile_tools.viewer.fetch_origins import write_origins
from pile_tools.viewer.view import BatchViewer

__all__ = ["Fetched", "fetch_steps", "parse_steps"]

_PREFIX: Final = "document"
_TOKENIZER_NAME: Final = "tokenizer.json"
_JOB_NAME: Final = "job.json"
_CONCURRENT: Final = 4


def parse_steps(text: str) -> tuple[int, int]:
    """Return [start, stop) of steps written as "10:20", or "10" for one step."""
    start, colon, stop = text.partition(":")
    try:
        first = int(start)
        last = int(stop) if colon else first + 1
    except ValueError:
        raise ParameterError(f"steps {text!r} are not of the form START:STOP, such as 0:10") from None
    if not 0 <= first < last:
        raise ParameterError(f"steps {text!r} are none; START:STOP holds START and not STOP")
    return first, last


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
    addresses and sources (see ``formats.origins``), so that the steps answer what the stream does; unless
    ``tokens_only``, which of a stream behind a URL spares reading where its documents came from.

    ``progress`` is told of the steps as ``label``, then of the "origins" of sequences and of "documents". A
    run that was interrupted goes on where it ended; a finished directory is left as it is. Raises
    OutOfRangeError for steps that the stream does not have, PileToolsError where ``output`` holds something
    else or another run is at work in it, and DataError where a file of a finished one is gone or cut.
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
    finished = _finished(output, parameters)
    if finished is not None and not (output / UNFINISHED_NAME).exists():
        remove_stray_lock(output)
        return Fetched(finished, None)
    with DirectoryLock(output):
        finished = _finished(output, parameters)
        if finished is None:
            _refuse_foreign(output, output / UNFINISHED_NAME, canonical_json(parameters))
            if not tokens_only:
                _check_history(viewer)
            try:
                return _fetch(viewer, start, stop, output, parameters, progress, label)
            except Exception:
                _remove_empty_work(output / UNFINISHED_NAME)
                raise
        if (output / UNFINISHED_NAME).exists():  # killed in its last moment, with all in its place
            sweep_partials(output, own=True)
            shutil.rmtree(output / UNFINISHED_NAME)
        return Fetched(finished, None)


def _finished(output: Path, parameters: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest of ``output`` where these very steps were fetched into it, whole."""
    if not (output / MANIFEST_NAME).is_file():
        return None
    manifest = Manifest.read(output)
    if manifest.stage != "fetch" or dict(manifest.parameters) != parameters:
        raise PileToolsError(f"{output}: holds something else; choose another directory")
    manifest.check_outputs(output)
    return manifest


def _fetch(
    viewer: BatchViewer,
    start: int,
    stop: int,
    output: Path,
    parameters: Mapping[str, Any],
    progress: Progress,
    label: str,
) -> Fetched:
    """Fetch the steps that are not in the work directory yet, and put all in their place."""
    work = output / UNFINISHED_NAME
    missing = [step for step in range(start, stop) if not _part(work, step).is_file()]
    # The steps stay beside the data until all of it is in its place.
    step_bytes = viewer.batch_size * (viewer.seq_length + 1) * viewer.dtype.itemsize
    require_space(output, (len(missing) + stop - start) * step_bytes)
    work.mkdir(exist_ok=True)
    with atomic_write(work / _JOB_NAME) as file:
        file.write(canonical_json(parameters))
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
    return _finish(viewer, start, stop, output, parameters, progress)


def _remove_empty_work(work: Path) -> None:
    """Remove the work directory where no step is in it, which would refuse other steps."""
    if not any(work.glob("step-*.bin")):
        shutil.rmtree(work, ignore_errors=True)


def _check_history(viewer: BatchViewer) -> None:
    """Raise DataError where the history that comes along is not whole, before anything long is read."""
    for part in viewer.parts:
        try:
            part.check_carried()
        except DataError as error:
            raise DataError(
                f"{error}, or leave out where documents came from: `pile-tools fetch --tokens-only`"
            ) from None


def _part(work: Path, step: int) -> Path:
    return work / f"step-{step}.bin"


def _refuse_foreign(output: Path, work: Path, job: bytes) -> None:
    """Raise PileToolsError unless ``output`` is empty, or holds unfinished work of the same job."""
    path = work / _JOB_NAME
    if path.is_file():
        if path.read_bytes() != job:
            raise PileToolsError(
                f"{output}: begun with other steps or another stream; choose another directory"
            )
        sweep_partials(output, own=True)
    elif output.is_dir() and not _is_empty(output, work):
        raise PileToolsError(f"{output}: holds something else; choose another directory")


def _is_empty(output: Path, work: Path) -> bool:
    """Whether nothing is in ``output``, or only what is left where a run was killed as it began."""
    found = [path for path in output.iterdir() if path.name != LOCK_NAME]
    if found == [work]:
        found = [path for path in work.iterdir() if not path.name.endswith(PARTIAL_SUFFIX)]
    return not found


def _finish(
    viewer: BatchViewer,
    start: int,
    stop: int,
    output: Path,
    parameters: Mapping[str, Any],
    progress: Progress,
) -> Fetched:
    """Lay the steps end to end, describe them, and remove the work directory."""
    work = output / UNFINISHED_NAME
    rows, row_tokens = (stop - start) * viewer.batch_size, viewer.seq_length + 1
    with atomic_write(output / f"{_PREFIX}.bin") as target:
        for step in range(start, stop):
            part = _part(work, step)
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
        tokenizer, reason = viewer.tokenizer_content(), None
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
    manifest.write(output)
    shutil.rmtree(work)
    return Fetched(manifest, reason)
