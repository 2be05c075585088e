"""``tokenize``: a corpus to a token dataset, with the address of every document.

A task for each shard leaves a part (tokens, addresses, counts) under the work folder; then the parts
are laid end to end in corpus order, so that neither the number of workers nor the order in which they
end can change a byte.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from pile_tools import __version__
from pile_tools.errors import ParameterError, PileToolsError, RecordsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard, find_corpus, with_parents
from pile_tools.formats.documents import BadRecordPolicy
from pile_tools.formats.free_space import space_warning
from pile_tools.formats.history import carry_history
from pile_tools.formats.locations import write_locations
from pile_tools.formats.machine import default_workers
from pile_tools.formats.manifest import Manifest, canonical_json, file_entry
from pile_tools.formats.mmidx import token_dtype, write_index
from pile_tools.formats.pieces import Piece, join_pieces, shard_name, shard_sizes
from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance, ProvenanceWriter, integers
from pile_tools.formats.tokenizer import TOKENIZER_NAME, TokenizerFile, read_tokenizer
from pile_tools.stages.executor import Progress, Task, no_progress, run_tasks
from pile_tools.stages.skipped_records import ANY_SHARE, SkippedRecords, check_skipped
from pile_tools.stages.tokenize_encoder import DIFFERS, BulkEncoderError, EncoderName
from pile_tools.stages.tokenize_shard import Encoding, Part, PartSummary, tokenize_shard
from pile_tools.stages.workspace import InputFile, Workspace

__all__ = ["DEFAULT_EOD_TOKEN", "DEFAULT_MAX_DOCUMENT_BYTES", "PREFIX", "tokenize"]

DEFAULT_EOD_TOKEN = "<|endoftext|>"
DEFAULT_MAX_DOCUMENT_BYTES = 64 << 20
PREFIX = "document"
# A process takes a second of work to start, and encodes with as many threads as there are cores anyway.
_BYTES_WORTH_A_PROCESS = 16 << 20
_COMPRESSION = 3  # of text, about
# Their releases can change a byte of the outputs: ids, or the encoding of documents.parquet.
_VERSIONED = ("pyarrow", "tokenizers")


def tokenize(
    inputs: Iterable[str | Path],
    output: str | Path,
    *,
    tokenizer: str,
    eod_token: str = DEFAULT_EOD_TOKEN,
    append_eod: bool = True,
    skip_empty: bool = False,
    shard_bytes: int | None = None,
    text_field: str = "text",
    source_field: str = "meta.pile_set_name",
    on_bad_record: BadRecordPolicy = "error",
    max_skipped: Fraction = ANY_SHARE,
    max_document_bytes: int = DEFAULT_MAX_DOCUMENT_BYTES,
    allow_id_gaps: bool = False,
    encoder: Literal["auto", "tokenizers"] = "auto",
    workers: int | None = None,
    start_method: str | None = None,
    progress: Progress = no_progress,
    warn: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Tokenize the shards that ``inputs`` stand for into the directory ``output``; return its manifest.

    ``tokenizer`` is the path of a tokenizer.json or an id on the Hub. Each document is encoded without
    special tokens and ended by ``eod_token`` (not with ``append_eod`` False: then an empty document has
    no tokens at all). Documents keep the order of the corpus. ``skip_empty`` passes over documents whose
    text is empty, as GPT-NeoX's own preprocessing does. ``shard_bytes`` cuts the data into shards of
    that many bytes. ``encoder`` "auto" is fastokens where it agrees with tokenizers: that changes the
    speed and never a token, and the manifest's counts say what was used. A record of more than
    ``max_document_bytes`` is a bad record. Where more than the share ``max_skipped`` of the records is
    skipped, no dataset is written; a call with a larger one goes on with what was encoded. What is
    finished is returned as it is, and what was interrupted is resumed. ``warn`` is called with a line where
    the free space of the disk may not suffice.

    Writes document.idx, document.bin or its shards, documents.parquet, tokenizer.json, parents/ where
    the shards are another stage's output, locations.json and manifest.json.
    Raises ParameterError for a tokenizer without ``eod_token`` and for shards that would cut a token in
    two, DataError for input that cannot be read, RecordsError for records that are no documents, and
    what `Workspace` raises.
    """
    corpus = find_corpus(inputs, leave_out=Path(output))
    shards = corpus.shards
    checked = read_tokenizer(tokenizer, allow_id_gaps=allow_id_gaps)
    encoding = Encoding(
        tokenizer=checked,
        eod=_eod_id(checked, eod_token) if append_eod else None,
        dtype=token_dtype(checked.max_id + 1).name,
        text_field=text_field,
        source_field=source_field,
        on_bad_record=on_bad_record,
        skip_empty=skip_empty,
        max_document_bytes=max_document_bytes,
    )
    itemsize = np.dtype(encoding.dtype).itemsize
    if shard_bytes is not None and (shard_bytes <= 0 or shard_bytes % itemsize):
        raise ParameterError(f"--shard-bytes {shard_bytes}: must be a positive multiple of {itemsize}")
    parameters = _parameters(encoding, eod_token if append_eod else None, shard_bytes)
    files = [InputFile(shard.path, shard.name, shard.sha256) for shard in shards]
    versions = {"pile-tools": __version__, **{name: version(name) for name in _VERSIONED}}
    with Workspace(
        Path(output),
        stage="tokenize",
        parameters=parameters,
        inputs=files,
        versions=versions,
        # What was encoded without an error holds no bad record that could have been skipped.
        like=[parameters | {"on_bad_record": "error"}] if on_bad_record == "skip" else [],
    ) as space:
        if space.finished is not None:
            return space.finished
        if warning := space_warning(space.directory, _estimated_bytes(shards, itemsize)):
            warn(warning)
        parts = [Part.of(space.work, number) for number in range(len(shards))]
        because = None if encoder == "auto" else "it was asked for"
        because = _encode(
            space,
            shards,
            parts,
            encoding,
            because,
            workers=workers,
            progress=progress,
            start_method=start_method,
        )
        summaries = [part.read_summary() for part in parts]
        _check_documents(shards, summaries, max_skipped)
        outputs = _place(space, parts, summaries, encoding, shard_bytes, progress)
        outputs += carry_history(shards, space.directory)
        write_locations(shards, space.directory)
        manifest = Manifest(
            stage="tokenize",
            parameters=parameters,
            inputs=with_parents(
                [
                    replace(entry, documents=summary.documents)
                    for entry, summary in zip(space.input_entries, summaries, strict=True)
                ],
                shards,
            ),
            outputs=[file_entry(space.directory / name, name) for name in outputs],
            counts=_counts(summaries, because)
            | ({"passed_over": corpus.passed_over} if corpus.passed_over else {}),
            parents=_parents(shards),
            versions=versions | ({"fastokens": version("fastokens")} if because is None else {}),
        )
        space.finish(manifest)
        return manifest


def _estimated_bytes(shards: list[Shard], itemsize: int) -> int:
    """Estimate how many bytes the tokens of ``shards`` take: a token is about four bytes of text."""
    sizes = [
        shard.path.stat().st_size * (1 if shard.format in (".jsonl", ".txt") else _COMPRESSION)
        for shard in shards
    ]
    return sum(sizes) * itemsize // 4


def _check_documents(shards: list[Shard], summaries: list[PartSummary], max_skipped: Fraction) -> None:
    """Raise RecordsError where there is no document, or more records than ``max_skipped`` allows are none."""
    if not any(summary.documents for summary in summaries):
        first = next((f": {summary.first_skipped}" for summary in summaries if summary.first_skipped), "")
        raise RecordsError(
            f"{shards[0].path}{' and others' * (len(shards) > 1)}: no documents to tokenize{first}"
        )
    check_skipped(
        (
            SkippedRecords(
                read["documents"] + read["skipped_records"] + read["oversized_records"],
                read["skipped_records"] + read["oversized_records"],
                summary.first_skipped,
            )
            for summary in summaries
            for read in (summary.read,)
        ),
        max_skipped,
    )


def _encode(
    space: Workspace,
    shards: list[Shard],
    parts: list[Part],
    encoding: Encoding,
    because: str | None,
    *,
    workers: int | None,
    progress: Progress,
    start_method: str | None,
) -> str | None:
    """Make all parts, with fastokens if it is fit for it and ``because`` is None.

    Returns why the tokenizers library made them, None where fastokens did. The whole job is encoded by
    one of the two: what the judge of one shard found would be true of the others as well.
    """
    decided = space.work / "encoder.json"
    if because is None and decided.exists():
        because = orjson.loads(decided.read_bytes())["because"]
    input_bytes = sum(entry.bytes for entry in space.input_entries)
    workers = min(workers or default_workers(), len(shards), 1 + input_bytes // _BYTES_WORTH_A_PROCESS)
    while True:
        name: EncoderName = "tokenizers" if because else "fastokens"
        chosen = replace(
            encoding,
            encoder=name,
            encoder_version=version(name),
            threads=max(1, default_workers() // workers),
        )
        _drop_parts_of_another(parts, chosen.label, space.directory)
        tasks = [
            Task(shard.name, tokenize_shard, (shard, chosen, part), (part.summary,), entry.bytes)
            for shard, part, entry in zip(shards, parts, space.input_entries, strict=True)
        ]
        try:
            run_tasks(tasks, workers=workers, label="tokenize", progress=progress, start_method=start_method)
        except BulkEncoderError as error:
            because = DIFFERS if str(error).endswith(DIFFERS) else str(error)
            with atomic_write(decided) as file:
                file.write(canonical_json({"because": because}))
        else:
            return because


def _drop_parts_of_another(parts: list[Part], label: str, directory: Path) -> None:
    """Remove the parts that an interrupted run made with another encoder, or another version of it."""
    for part in parts:
        if not part.summary.exists() or (made_by := part.read_summary().encoder) == label:
            continue
        if not part.tokens.exists():
            raise PileToolsError(
                f"{directory}: begun with {made_by}, and its tokens are in their place; "
                f"finish it with that, or remove the directory to begin anew with {label}"
            )
        part.summary.unlink()


def _eod_id(tokenizer: TokenizerFile, eod_token: str) -> int:
    found = tokenizer.load().token_to_id(eod_token)
    if found is None:
        raise ParameterError(
            f"{tokenizer.path}: the tokenizer has no token {eod_token!r}; name its end-of-document token "
            "with `--eod-token`, or say `--no-append-eod`"
        )
    return int(found)


def _parameters(encoding: Encoding, eod_token: str | None, shard_bytes: int | None) -> dict[str, Any]:
    return {
        "tokenizer": {"name": encoding.tokenizer.name, "sha256": encoding.tokenizer.sha256},
        "vocab_size": encoding.tokenizer.vocab_size,
        "max_id": encoding.tokenizer.max_id,
        "dtype": encoding.dtype,
        "eod_token": eod_token,
        "eod_id": encoding.eod,
        "shard_bytes": shard_bytes,
        "skip_empty": encoding.skip_empty,
        "text_field": encoding.text_field,
        "source_field": encoding.source_field,
        "on_bad_record": encoding.on_bad_record,
        "max_document_bytes": encoding.max_document_bytes,
    }


def _place(
    space: Workspace,
    parts: list[Part],
    summaries: list[PartSummary],
    encoding: Encoding,
    shard_bytes: int | None,
    progress: Progress,
) -> list[str]:
    """Put the parts into their final files; return the names of all outputs."""
    out = space.directory
    sizes_path = space.work / "sizes.bin"
    with (
        atomic_write(sizes_path) as size_file,
        atomic_write(out / PROVENANCE_NAME) as file,
        ProvenanceWriter(file) as writer,
    ):
        for part in parts:
            for table in Provenance(part.documents).tables():
                writer.write(table)
                size_file.write(integers(table, "n_tokens").astype("<i4").tobytes())
        documents = writer.rows
    # Mapped: four bytes for each document of a large corpus are more than memory is promised to hold.
    sizes = np.memmap(sizes_path, "<i4", "r", shape=(documents,))
    write_index(out / f"{PREFIX}.idx", encoding.dtype, sizes)

    pieces = [Piece(part.tokens, summary.token_bytes) for part, summary in zip(parts, summaries, strict=True)]
    total = sum(piece.bytes for piece in pieces)
    lengths = shard_sizes(total, shard_bytes)
    names = (
        [f"{PREFIX}.bin"]
        if shard_bytes is None
        else [shard_name(PREFIX, index, len(lengths) - 1) for index in range(len(lengths))]
    )
    targets = [Piece(out / name, length) for name, length in zip(names, lengths, strict=True)]
    join_pieces(
        pieces, targets, space.work, consume=True, progress=lambda done: progress("place", done, total)
    )
    with atomic_write(out / TOKENIZER_NAME) as file:
        file.write(encoding.tokenizer.content)
    return [f"{PREFIX}.idx", *names, PROVENANCE_NAME, TOKENIZER_NAME]


_SUMMED = ("documents", "text_bytes", "tokens", "empty_documents", "eod_inside")
_READ = (
    "rows",
    "blank_lines",
    "skipped_records",
    "oversized_records",
    "repaired_documents",
    "replaced_characters",
)


def _counts(summaries: list[PartSummary], because: str | None) -> dict[str, Any]:
    sources: dict[str, dict[str, int]] = {}
    for name, counts in (item for summary in summaries for item in summary.sources.items()):
        known = sources.setdefault(name, dict.fromkeys(counts, 0))
        for field, count in counts.items():
            known[field] += count
    encoder: dict[str, Any] = {"name": "tokenizers", "because": because}
    if because is None:
        judged = sum(summary.judged_documents for summary in summaries)
        encoder = {"name": "fastokens", "judged_documents": judged}
    return {
        **{name: sum(getattr(summary, name) for summary in summaries) for name in _SUMMED},
        **{name: sum(summary.read[name] for summary in summaries) for name in _READ},
        "max_id": max(summary.max_id for summary in summaries),
        "sources": sources,
        "encoder": encoder,
    }


def _parents(shards: list[Shard]) -> list[str]:
    return list(dict.fromkeys(shard.parent for shard in shards if shard.parent is not None))
