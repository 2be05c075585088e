"""Python functions for what the commands do, exported by ``pile_tools`` under the commands' names.

Locations are paths or URLs, ``str`` or ``Path``, and "~" in a path is the home directory. ``progress`` is
True for a bar on standard error, False for none, or a function that is called with (label, done, total).
"""

import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pile_tools.errors import UnfinishedError, needs_extra
from pile_tools.jobs.bars import ProgressOption, reporting
from pile_tools.storage.urls import expanded
from pile_tools.viewer import BatchViewer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pile_tools.checks.locations import Report
    from pile_tools.lookups.diff import Difference
    from pile_tools.stages.digest import DigestSummary
    from pile_tools.stages.order.order import OrderSummary
    from pile_tools.storage.manifest import Manifest
    from pile_tools.studies.intervene.intervene import Change
    from pile_tools.studies.models import CausalModel

__all__ = [
    "dedup",
    "diff",
    "digest",
    "intervene",
    "make_order",
    "open_suite",
    "token_losses",
    "tokenize",
    "verify",
]

Location = str | os.PathLike[str]
Steps = tuple[int | None, int | None]


def _say_nothing(line: str) -> None:
    """Show no warning."""


def dedup(
    inputs: Location | Sequence[Location],
    output: Location,
    *,
    against: Location | Sequence[Location] = (),
    max_skipped: float | str | Fraction = "1%",
    workers: int | None = None,
    memory: int | None = None,
    progress: ProgressOption = False,
    warn: Callable[[str], None] = _say_nothing,
    **options: Any,
) -> "Manifest":
    """Write the corpus ``inputs`` without its near-duplicates into ``output``; return its manifest.

        manifest = pile_tools.dedup("corpus/", "kept/", threshold=0.87, progress=True)

    ``options`` are those of ``stages.dedup.job.resolve_job``: threshold, verify, keep, preset, exact,
    normalize, ngram, num_perm, seed, on_bad_record, max_document_bytes, text_field, source_field,
    save_signatures; the rest is as in ``stages.dedup.dedup.dedup``. A run that was stopped is resumed by the
    same call. Raises ParameterError, DataError and UnfinishedError as that does.
    """
    from pile_tools.stages.dedup.dedup import dedup as run
    from pile_tools.stages.dedup.job import resolve_job

    job = resolve_job(**options)
    with reporting(progress) as report:
        return run(
            _locations(inputs),
            expanded(output),
            job,
            against=_locations(against),
            max_skipped=_share(max_skipped),
            workers=workers,
            memory=memory,
            progress=report,
            warn=warn,
        )


def tokenize(
    inputs: Location | Sequence[Location],
    output: Location,
    *,
    tokenizer: Location,
    max_skipped: float | str | Fraction = "1%",
    progress: ProgressOption = False,
    warn: Callable[[str], None] = _say_nothing,
    **options: Any,
) -> "Manifest":
    """Turn the corpus ``inputs`` into a token dataset in ``output``; return its manifest.

        pile_tools.tokenize("kept/", "tokens/", tokenizer="EleutherAI/gpt-neox-20b")

    ``tokenizer`` is a tokenizer.json or a Hub id. ``options`` are those of
    ``stages.tokenize.tokenize.tokenize``, which says what is written and raised: eod_token, append_eod,
    skip_empty, shard_bytes, text_field, source_field, on_bad_record, max_document_bytes, allow_id_gaps,
    encoder, workers.
    """
    from pile_tools.stages.tokenize.tokenize import tokenize as run

    with reporting(progress) as report:
        return run(
            _locations(inputs),
            expanded(output),
            tokenizer=expanded(tokenizer),
            max_skipped=_share(max_skipped),
            progress=report,
            warn=warn,
            **options,
        )


def make_order(data: Location, *, output: Location | None = None, **options: Any) -> "OrderSummary":
    """Make the order in which training reads the token dataset ``data``, beside it or in ``output``.

        pile_tools.make_order("tokens/", seq_length=2048, batch_size=1024, steps=1000, seed=1234)

    ``options`` are those of ``stages.order.order.make_order``: seq_length, batch_size, steps, num_samples,
    seed, recipe, name, split, part, names. Raises ParameterError for parameters that make no order.
    """
    from pile_tools.stages.order.order import make_order as run

    directory = None if output is None else Path(expanded(output))
    return run(expanded(data), output=directory, **options)


def open_suite(suite: Location, **options: Any) -> BatchViewer:
    """Open the stream of a suite, by its name or the path of a suite file.

        pile_tools.open_suite("pythia-deduped").batch(65000)

    ``options`` are those of ``BatchViewer.from_suite``, which says what is raised.
    """
    return BatchViewer.from_suite(suite, **options)


def digest(
    stream: BatchViewer | Location, output: Location | None = None, *, progress: ProgressOption = False
) -> "DigestSummary":
    """Digest every step of ``stream``, a viewer or a location, beside its order or in ``output``.

    See ``stages.digest.digest`` for what is written and raised. A run that was interrupted goes on where it
    ended.
    """
    from pile_tools.stages.digest import digest as run

    with reporting(progress) as report:
        return run(_viewer(stream), None if output is None else expanded(output), progress=report)


def diff(
    left: BatchViewer | Location,
    right: BatchViewer | Location,
    *,
    steps: Steps | None = None,
    limit: int = 100,
    progress: ProgressOption = False,
) -> "Difference":
    """Compare two streams, viewers or locations, step by step (see ``lookups.diff.diff``).

    Locations are opened at the batch size of the other stream where that is a viewer, else at the one at
    which a counterfactual stream among them was named.
    """
    from pile_tools.viewer import common_batch_size
    from pile_tools.viewer import diff as run

    opened = [stream.batch_size for stream in (left, right) if isinstance(stream, BatchViewer)]
    names = [expanded(stream) for stream in (left, right) if not isinstance(stream, BatchViewer)]
    batch_size = opened[0] if opened else common_batch_size(names)
    viewers = _viewer(left, batch_size), _viewer(right, batch_size)
    with reporting(progress) as report:
        return run(*viewers, steps=steps, limit=limit, progress=report)


def intervene(
    data: Location,
    output: Location,
    *,
    from_step: int,
    to_step: int | None = None,
    swap: Location | None = None,
    allow_length_change: bool = False,
    drop: str | Sequence[str] = (),
    replace: Sequence[tuple[str, str]] = (),
    move: Sequence[tuple[str, int]] = (),
    order: Location | None = None,
    batch_size: int | None = None,
    tokenizer: Location | None = None,
    progress: ProgressOption = False,
) -> "Change":
    """Write a counterfactual stream of ``data`` into ``output``: other words or documents in some steps.

        pile_tools.intervene("tokens/", "overlay/", from_step=113, swap="pronouns", allow_length_change=True)

    ``swap`` is a file of words or "pronouns"; ``drop``, ``replace`` and ``move`` name documents as the
    command does. See ``studies.intervene.intervene`` for what is written and raised.
    """
    from pile_tools.studies.intervene.intervene import Intervention
    from pile_tools.studies.intervene.intervene import intervene as run

    change = Intervention(
        swap=None if swap is None else expanded(swap),
        allow_length_change=allow_length_change,
        drop=[drop] if isinstance(drop, str) else drop,
        replace=replace,
        move=move,
    )
    with reporting(progress) as report:
        return run(
            expanded(data),
            Path(expanded(output)),
            change,
            from_step=from_step,
            to_step=to_step,
            order=None if order is None else expanded(order),
            batch_size=batch_size,
            tokenizer=None if tokenizer is None else expanded(tokenizer),
            progress=report,
        )


def verify(
    locations: Location | Sequence[Location],
    *,
    streams: Location | Sequence[Location] = (),
    steps: Steps | None = None,
    order: Location | None = None,
    digests: Location | None = None,
    progress: ProgressOption = False,
) -> "list[Report]":
    """Check that ``locations`` still hold what was made; return what each check says (path, check, message).

    ``streams`` are token datasets to compare with what checkpoints have read; with ``steps`` or ``digests``
    (a directory) only steps are compared with their digests, in ``order``. Raises DataError for the first
    file or step that is not right, UnfinishedError where a part of what a checkpoint has read is in none of
    the ``streams``.
    """
    from pile_tools.checks.locations import verify_locations

    compared = _locations(streams)
    with reporting(progress) as report:
        reports, unproved = verify_locations(
            _locations(locations),
            streams=compared,
            steps=steps,
            order=None if order is None else expanded(order),
            digests=None if digests is None else Path(expanded(digests)),
            progress=report,
        )
    if compared and unproved:
        raise UnfinishedError(f"{unproved[0]}, so they are not proved; add the stream that they are of")
    return reports


def token_losses(
    stream: BatchViewer | Location, model: "Location | CausalModel", step: int, row: int, **options: Any
) -> "npt.NDArray[np.float32]":
    """Return the loss of ``model`` on each label of a row, in nats: float32 [seq_length].

        pile_tools.token_losses(viewer, "RUN/step512", 480, 3)

    ``options`` are ``device`` and ``dtype``; see ``studies.token_losses``. Needs the extra `studies`.
    """
    with needs_extra("token_losses"):
        from pile_tools.studies.token_losses import token_losses as run

        named = expanded(model) if isinstance(model, str | os.PathLike) else model
        return run(_viewer(stream), named, step, row, **options)


def _viewer(stream: BatchViewer | Location, batch_size: int | None = None) -> BatchViewer:
    if isinstance(stream, BatchViewer):
        return stream
    return BatchViewer.open(stream, batch_size=batch_size)


def _locations(locations: Location | Sequence[Location]) -> list[str]:
    several = [locations] if isinstance(locations, str | os.PathLike) else locations
    return [expanded(location) for location in several]


def _share(share: float | str | Fraction) -> Fraction:
    from pile_tools.formats.sizes import parse_share

    if isinstance(share, Fraction):
        return share
    return parse_share(share if isinstance(share, str) else f"{Decimal(str(share)):f}")
