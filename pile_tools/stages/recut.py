"""``merge`` and ``split``: a token dataset with its data cut into other files; no token changes.

What comes out of a dataset of `pile-tools tokenize` is what that writes with the other ``--shard-bytes``,
byte for byte, with the orders beside it.
"""

import glob
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools import __version__
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.digest_files import digest_names, list_records
from pile_tools.formats.free_space import require_space
from pile_tools.formats.history import PARENTS_NAME
from pile_tools.formats.locations import move_locations
from pile_tools.formats.locks import remove_stray_lock
from pile_tools.formats.machine import default_workers
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest, file_entry
from pile_tools.formats.names import path_inside
from pile_tools.formats.order_record import ORDER_NAME, OrderRecord, parse_record
from pile_tools.formats.origins import ORIGINS_NAME, OriginsRecord
from pile_tools.formats.pieces import Piece, copy_file, join_pieces, shard_name, shard_sizes, shares_blocks
from pile_tools.formats.provenance import PROVENANCE_NAME
from pile_tools.formats.sources import MappedFile
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.tokenizer import TOKENIZER_NAME
from pile_tools.stages.executor import Progress, no_progress
from pile_tools.stages.workspace import InputFile, Workspace

__all__ = ["recut"]

_BLOCK = 16 << 20


def recut(
    data: str | Path, output: str | Path, *, shard_bytes: int | None, progress: Progress = no_progress
) -> Manifest:
    """Copy the token dataset ``data`` to the directory ``output`` with its data in other files.

    The data goes to one ``.bin`` file, or to shards of ``shard_bytes`` each but the last. Everything else
    that belongs to the dataset goes along: index, provenance, tokenizer, history, orders. The source
    is hashed while it is copied. Returns the manifest of ``output``.

    Raises ParameterError for shards that would cut a token in two, DataError where the source is not
    what its manifest says, and what `Workspace` raises.
    """
    source, output = TokenDataset.open(data), Path(output)
    directory = source.store.path
    if directory is None:
        raise ParameterError(f"{source.name}: behind a URL; fetch it first")
    if shard_bytes is not None and (shard_bytes <= 0 or shard_bytes % source.dtype.itemsize):
        raise ParameterError(
            f"--shard-bytes {shard_bytes}: must be a positive multiple of {source.dtype.itemsize}"
        )
    planned = _planned(source, shard_bytes)
    if planned is not None and _is_done(output, planned):
        remove_stray_lock(output)
        return Manifest.read(output)
    # Read before hours of copying: what they name may not be inside of the directory.
    orders, (origins, parents) = _orders(directory), _origins(directory)
    for entry in planned.outputs if planned is not None else ():
        entry.path(directory)
    stage = "merge" if shard_bytes is None else "split"
    parameters: dict[str, Any] = {"shard_bytes": shard_bytes, "data_bytes": source.data_bytes}
    if planned is not None:
        parameters["source"] = source.manifest.identity if source.manifest else None
    index = f"{source.prefix}.idx"
    inputs = [InputFile(directory / index, index)]
    versions = {"pile-tools": __version__}
    with Workspace(output, stage=stage, parameters=parameters, inputs=inputs, versions=versions) as space:
        if space.finished is not None:
            return space.finished
        entries = _copy_data(source, space, shard_bytes, progress)
        if planned is None:
            names = [index, PROVENANCE_NAME, TOKENIZER_NAME]
            paths = {name: directory / name for name in names}
            paths |= origins
            others = [_copy(path, name, output) for name, path in paths.items() if path.is_file()]
            manifest = Manifest(
                stage,
                parameters,
                space.input_entries,
                [*others, *entries],
                parents=parents,
                versions=versions,
            )
        else:
            manifest = replace(planned, outputs=_with_data(source, directory, planned, entries, output))
            move_locations(directory, output)
        identity = None if planned is None else manifest.identity
        _copy_orders(directory, source.prefix, output, orders, identity)
        space.finish(manifest)
        return manifest


def _planned(source: TokenDataset, shard_bytes: int | None) -> Manifest | None:
    """The manifest of what comes out, but for its outputs; None for a dataset without a manifest."""
    manifest = source.manifest
    if manifest is None:
        return None
    return replace(manifest, parameters={**manifest.parameters, "shard_bytes": shard_bytes})


def _is_done(output: Path, planned: Manifest) -> bool:
    if not (output / MANIFEST_NAME).is_file():
        return False
    found = Manifest.read(output)
    same = replace(found, outputs=planned.outputs) == planned
    return same and all(entry.is_in(output) for entry in found.outputs)


def _copy_data(
    source: TokenDataset, space: Workspace, shard_bytes: int | None, progress: Progress
) -> list[FileEntry]:
    """Copy the data; return the entries of its new files. Hashes are taken while the bytes are copied."""
    total, prefix = source.data_bytes, source.prefix
    parts = [part for part in source.parts if isinstance(part, MappedFile)]
    lengths = shard_sizes(total, shard_bytes)
    names = (
        [f"{prefix}.bin"]
        if shard_bytes is None
        else [shard_name(prefix, index, len(lengths) - 1) for index in range(len(lengths))]
    )
    targets = [Piece(space.directory / name, length) for name, length in zip(names, lengths, strict=True)]
    pieces = [Piece(part.path, part.size) for part in parts]
    _require_room(parts, targets, space)
    recorded = {entry.name: entry.sha256 for entry in source.manifest.outputs} if source.manifest else {}
    with ThreadPoolExecutor(default_workers()) as pool:
        own = [pool.submit(_sha256, [part.array]) for part in parts]
        new: list[Future[str]] = []
        start = 0
        for length in lengths:
            new.append(pool.submit(_sha256, _ranges(parts, start, start + length)))
            start += length
        join_pieces(
            pieces, targets, space.work, consume=False, progress=lambda done: progress("copy", done, total)
        )
        for part, hashed in zip(parts, own, strict=True):
            written = recorded.get(part.path.name, hashed.result())
            if hashed.result() != written:
                raise DataError(
                    f"{part.path}: SHA-256 {hashed.result()[:12]}…, but {written[:12]}… was written; "
                    "restore it from a copy"
                )
        return [
            FileEntry(name, length, hashed.result())
            for name, length, hashed in zip(names, lengths, new, strict=True)
        ]


def _require_room(parts: Sequence[MappedFile], targets: Sequence[Piece], space: Workspace) -> None:
    """Raise UnfinishedError where what is not copied yet does not fit, unless copies share their blocks."""
    written = [path for target in targets for path in (target.path, space.work / target.path.name)]
    there = sum(path.stat().st_size for path in written if path.is_file())
    if parts and not shares_blocks(parts[0].path, space.directory):
        require_space(space.directory, sum(target.bytes for target in targets) - there)


def _ranges(parts: Sequence[MappedFile], start: int, stop: int) -> list[npt.NDArray[np.uint8]]:
    """Bytes [start, stop) of the data, as views of its files."""
    found = []
    for part in parts:
        if start < part.size and stop > 0:
            found.append(part.array[max(0, start) : stop])
        start, stop = start - part.size, stop - part.size
    return found


def _sha256(parts: Sequence[npt.NDArray[np.uint8]]) -> str:
    state = hashlib.sha256()
    for part in parts:
        for start in range(0, len(part), _BLOCK):
            state.update(part[start : start + _BLOCK].data)
    return state.hexdigest()


def _with_data(
    source: TokenDataset, directory: Path, planned: Manifest, data: list[FileEntry], output: Path
) -> list[FileEntry]:
    """Copy everything but the data; return the entries of all outputs, in the order of `tokenize`."""
    old = {Path(part.name).name for part in source.parts}
    entries: list[FileEntry] = []
    for entry in planned.outputs:
        if entry.name not in old:
            copied = _copy(entry.path(directory), entry.name, output)
            if copied != entry:
                raise DataError(
                    f"{directory / entry.name}: not what its manifest lists; restore it from a copy"
                )
            entries.append(copied)
        elif data[0] not in entries:
            entries += data
    return entries


def _origins(directory: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files that say which documents fetched sequences show, and the manifests behind them."""
    path = directory / ORIGINS_NAME
    if not path.is_file():
        return {}, []
    record = OriginsRecord.parse(path.read_bytes(), str(path))
    carried = sorted(found for found in (directory / PARENTS_NAME).rglob("*") if found.is_file())
    names = [ORIGINS_NAME, *(entry.name for entry in record.files)]
    names += [found.relative_to(directory).as_posix() for found in carried]
    paths = {name: path_inside(directory, name) for name in names}
    return paths, sorted({dataset.manifest for dataset in record.datasets if dataset.manifest is not None})


def _copy(source: Path, name: str, output: Path) -> FileEntry:
    target = path_inside(output, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)
    return file_entry(target, name)


def _orders(directory: Path) -> dict[str, OrderRecord]:
    """Return the records of the orders in ``directory`` by the names of their files.

    A blend's is not among them: it names its datasets by where they lie.
    """
    records = {}
    for path in [*directory.glob(ORDER_NAME), *directory.glob(f"*_{ORDER_NAME}")]:
        record = parse_record(path.read_bytes(), str(path))
        if isinstance(record, OrderRecord):
            records[path.name] = record
            for entry in record.files:
                entry.path(directory)
    return records


def _copy_orders(
    directory: Path, prefix: str, output: Path, orders: Mapping[str, OrderRecord], identity: str | None
) -> None:
    """Copy the orders beside the dataset; their records name the manifest ``identity`` from then on."""
    arrays = {path.name for path in directory.glob(f"{glob.escape(prefix)}_*_idx.npy")}
    for name, record in orders.items():
        arrays |= {entry.name for entry in record.files}
        replace(record, manifest=identity).write(output / name)
    # The tokens of every step stay what they were.
    digests = {name for found, _ in list_records(directory) for name in digest_names(found)}
    for name in sorted(arrays | digests):
        copy_file(directory / name, path_inside(output, name))
