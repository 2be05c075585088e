"""``card`` of a run or a checkpoint: the Hub's model card, with what each checkpoint has read."""

import hashlib
from pathlib import Path
from typing import Any

from pile_tools.errors import DataError
from pile_tools.formats.locks import DirectoryLock
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest
from pile_tools.stages.card import chain_table, description_header, markdown_table, write_readme
from pile_tools.stages.croissant import Description
from pile_tools.stages.lineage import lineage
from pile_tools.train.files import DATA_NAME, STAGE
from pile_tools.train.record import DataRecord

__all__ = ["is_training", "write_model_card"]


def is_training(directory: Path) -> bool:
    """Return whether ``directory`` is a checkpoint of training, or a run that is finished."""
    manifest = Manifest.find(directory)
    return manifest is not None and manifest.stage == STAGE


def write_model_card(directory: Path, description: Description, *, replace: bool = False) -> Path:
    """Write ``README.md`` into ``directory``, a checkpoint or a finished run; return its path.

    It names the model's shape and recipe, the stream by its identity, and for each checkpoint the steps and
    tokens that it has read and the running digest over them. Raises DataError for a checkpoint that is not
    the one that the run's manifest lists, PileToolsError for a README that something else wrote, unless
    ``replace`` is given.
    """
    manifest = Manifest.read(directory)
    checkpoints = _checkpoints(directory, manifest)
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    header |= description_header(description) | {"tags": ["pile-tools", manifest.stage, "gpt_neox"]}
    body = _body(directory, description, manifest, checkpoints)
    with DirectoryLock(directory):
        return write_readme(directory, header, body, replace=replace)


def _checkpoints(directory: Path, manifest: Manifest) -> dict[str, DataRecord]:
    """Return what each checkpoint has read, by the checkpoint's name; "." is the directory itself."""
    if (directory / DATA_NAME).is_file():
        return {".": DataRecord.read(directory)}
    found = {}
    for entry in manifest.outputs:
        name, _, rest = entry.name.partition("/")
        if rest != MANIFEST_NAME:
            continue
        entry.path(directory)
        if hashlib.sha256(Manifest.read(directory / name).to_bytes()).hexdigest() != entry.sha256:
            raise DataError(f"{directory / entry.name}: not the checkpoint that {MANIFEST_NAME} lists")
        found[name] = DataRecord.read(directory / name)
    return found


def _body(
    directory: Path, description: Description, manifest: Manifest, checkpoints: dict[str, DataRecord]
) -> str:
    recipe = manifest.parameters["recipe"]
    settings = {name: value for name, value in recipe.items() if name not in ("model", "optimizer")}
    settings |= {f"model: {name}": value for name, value in recipe["model"].items()}
    settings |= {f"optimizer: {name}": value for name, value in recipe["optimizer"].items()}
    last = max(checkpoints.values(), key=lambda record: record.steps)
    read = [
        (
            f"{segment.first_step}:{segment.last_step}",
            f"`{segment.stream.identity}`",
            segment.stream.order,
            f"{segment.stream.batch_size:,} × {segment.stream.seq_length:,}",
            f"`{segment.parent}`" if segment.parent else "",
        )
        for segment in last.lineage
    ]
    rows = [
        (f"`{name}`", f"{record.steps:,}", f"{record.tokens:,}", f"`{record.digest}`")
        for name, record in sorted(checkpoints.items(), key=lambda item: item[1].steps)
    ]
    files = [(f"`{entry.name}`", f"{entry.bytes:,}", f"`{entry.sha256}`") for entry in manifest.outputs]
    citation = f"## Citation\n\n```\n{description.citation}\n```\n" if description.citation else ""
    return (
        f"# {description.name}\n\n{description.description}\n\n"
        f"{last.steps:,} of {recipe['steps']:,} steps, {last.samples:,} samples, {last.tokens:,} tokens.\n\n"
        "```bash\npile-tools verify . --data DIR   # whether the stream in DIR has these steps\n```\n\n"
        f"## What was read\n\n"
        f"{markdown_table(('steps', 'stream', 'order', 'batch', 'began from'), read)}\n"
        f"## Checkpoints\n\n"
        f"{markdown_table(('checkpoint', 'steps', 'tokens', 'running digest'), rows)}\n"
        f"## Recipe\n\n"
        f"{markdown_table(('setting', 'value'), [(name, str(value)) for name, value in settings.items()])}\n"
        f"## How it was made\n\n{chain_table(lineage(directory))}\n"
        f"## Files\n\n{markdown_table(('file', 'bytes', 'SHA-256'), files)}\n{citation}"
    )
