"""``verify``: whether directories still hold what was made, by a small table of checks.

A check applies to some directories and says of one in a line what it has found right; what is wrong is
a DataError that names the file. A new kind of output gets a new row in ``CHECKS``.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.algorithms.check_maps import check_maps
from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.history import PARENTS_NAME, History
from pile_tools.formats.machine import default_workers
from pile_tools.formats.manifest import FileEntry, Manifest, sha256_file
from pile_tools.formats.order_files import OrderMaps, OrderPlace, list_orders
from pile_tools.formats.order_record import BlendRecord
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.executor import Progress, no_progress
from pile_tools.stages.verify_order import verify_blend, verify_recipe
from pile_tools.stages.verify_origins import check_origins, has_origins
from pile_tools.stages.verify_records import check_records
from pile_tools.stages.verify_tokens import check_provenance, check_tokenizer, check_tokens

__all__ = ["CHECKS", "Check", "Finding", "verify"]


@dataclass(frozen=True, slots=True)
class Check:
    """``run`` says in a line what is right with a directory to which the check ``applies``.

    One that is ``for_unfinished`` is made of directories, too, in which a job has not come to its end.
    """

    name: str
    applies: Callable[[Path], bool]
    run: Callable[[Path, Progress], str]
    for_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check ``check`` found right with ``directory``."""

    directory: Path
    check: str
    message: str


def _has_manifest(directory: Path) -> bool:
    return Manifest.find(directory) is not None


def _is_stage(stage: str) -> Callable[[Path], bool]:
    def is_stage(directory: Path) -> bool:
        manifest = Manifest.find(directory)
        return manifest is not None and manifest.stage == stage

    return is_stage


def _has_dataset(directory: Path) -> bool:
    return any(directory.glob("*.idx"))


def _check_hashes(directory: Path, entries: Sequence[FileEntry], progress: Progress) -> int:
    """Re-hash the files, several at a time; return their bytes. The first bad one in order is named."""
    paths = [entry.path(directory) for entry in entries]
    for entry, path in zip(entries, paths, strict=True):
        if not path.is_file():
            raise DataError(f"{path}: missing; restore it, or make {directory} again")
        if (size := path.stat().st_size) != entry.bytes:
            raise DataError(
                f"{path}: {size} bytes, but {entry.bytes} were written; restore it, or make {directory} again"
            )
    total = sum(entry.bytes for entry in entries)
    done = 0
    with ThreadPoolExecutor(default_workers()) as pool:
        for entry, path, found in zip(entries, paths, pool.map(sha256_file, paths), strict=True):
            if found != entry.sha256:
                pool.shutdown(wait=False, cancel_futures=True)
                raise DataError(
                    f"{path}: SHA-256 {found[:12]}…, but {entry.sha256[:12]}… was written; "
                    f"restore it, or make {directory} again"
                )
            done += entry.bytes
            progress("hash", done, total)
    return total


def _check_files(directory: Path, progress: Progress) -> str:
    manifest = Manifest.read(directory)
    total = _check_hashes(directory, manifest.outputs, progress)
    check_records(directory)
    return f"{len(manifest.outputs)} files, {total:,} bytes, as the manifest lists them"


def _check_history(directory: Path, progress: Progress) -> str:
    return f"manifests of what it was made from: {len(History.open(LocalStore(directory)).ancestors)}"


def _check_dedup(directory: Path, progress: Progress) -> str:
    manifest = Manifest.read(directory)
    path = directory / "dedup.parquet"
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: not readable ({reason}); make {directory} again") from None
    if rows != manifest.counts["removed"]:
        raise DataError(f"{path}: {rows} rows, but {manifest.counts['removed']} documents were removed")
    return f"{rows:,} removed documents"


def _orders(directory: Path) -> list[OrderPlace]:
    return list_orders(LocalStore(directory), None)


def _check_orders(directory: Path, progress: Progress) -> str:
    places = _orders(directory)
    paths = sorted(directory.glob("*.idx"))
    found = []
    for place in places:
        # Bare maps carry the prefix of their dataset; a record belongs to the only one.
        own = [path for path in paths if len(paths) == 1 or place.label.startswith(f"{path.stem}_")]
        said = _check_order(place, TokenDataset.open(own[0]) if own else None, directory, progress)
        found.append(f"{place.label} ({said})")
    return f"{len(places)}: " + ", ".join(found)


def _check_order(place: OrderPlace, dataset: TokenDataset | None, directory: Path, progress: Progress) -> str:
    """Check an order; return how it was made, as far as that can be told."""
    record = place.record
    if record is not None:
        _check_hashes(directory, record.files, progress)
    if isinstance(record, BlendRecord):
        return verify_blend(place, record, directory)
    if record is not None and not record.files:
        return "sequential"
    maps = OrderMaps.open(place)
    if dataset is None:
        return "its dataset is not here"
    difference = None if record is None else record.difference(dataset)
    if difference is not None:
        raise DataError(
            f"{place.name}: an order of another token dataset ({difference[0]}) than the one beside it "
            f"({difference[1]}); make one for it with `pile-tools order`"
        )
    seq_length = place.told()[0] if record is None else record.seq_length
    if seq_length is None:
        return "of an unknown sequence length"
    drawn = place.drawn_documents(dataset.n_sequences)
    try:
        check_maps(
            dataset.sizes.whole(),
            maps.doc_idx.whole(),
            maps.sample_idx.whole(),
            maps.shuffle_idx.whole(),
            seq_length,
            documents=drawn.documents,
            part=drawn.part,
            epochs=drawn.epochs,
        )
    except DataError as error:
        raise DataError(f"{place.name}: {error}; make the order again") from None
    return verify_recipe(place, dataset)


CHECKS: Final = (
    Check("files", _has_manifest, _check_files),
    Check("history", lambda directory: (directory / PARENTS_NAME).is_dir(), _check_history),
    Check("dedup", _is_stage("dedup"), _check_dedup),
    Check("tokens", _has_dataset, check_tokens),
    Check("provenance", _is_stage("tokenize"), check_provenance),
    Check("tokenizer", _is_stage("tokenize"), check_tokenizer),
    Check("origins", has_origins, check_origins),
    Check("orders", lambda directory: bool(_orders(directory)), _check_orders),
)


def verify(
    directories: Sequence[Path], *, checks: Sequence[Check] = CHECKS, progress: Progress = no_progress
) -> list[Finding]:
    """Run every check of ``checks`` that applies on each of ``directories``.

    Raises DataError for the first file that is not right, UnfinishedError for a directory that a stage
    has not finished (unless a check is made of such, too) and PileToolsError for one to which no check
    applies.
    """
    findings = []
    for directory in directories:
        if not directory.is_dir():
            raise PileToolsError(f"{directory}: no such directory")
        unfinished = (directory / UNFINISHED_NAME).exists()
        applicable = [
            check for check in checks if (check.for_unfinished or not unfinished) and check.applies(directory)
        ]
        if unfinished and not applicable:
            raise UnfinishedError(f"{directory}: unfinished; run the command that makes it again")
        if not applicable:
            raise PileToolsError(
                f"{directory}: nothing to verify in it; name the output directory of a stage, a token "
                "dataset or an order"
            )
        findings += [Finding(directory, check.name, check.run(directory, progress)) for check in applicable]
    return findings
