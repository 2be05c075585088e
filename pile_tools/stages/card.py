"""``card``: a directory described for others, as ``croissant.json`` and as the Hub's ``README.md``."""

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from pile_tools.errors import PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.locks import DirectoryLock
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest, file_entry
from pile_tools.formats.names import path_inside
from pile_tools.formats.order_record import ORDER_NAME, parse_record
from pile_tools.stages.croissant import CROISSANT_NAME, Description, croissant
from pile_tools.stages.lineage import Link, lineage

__all__ = ["CARD_NAME", "chain_table", "description_header", "markdown_table", "write_card", "write_readme"]

CARD_NAME: Final = "README.md"
_MARK: Final = "<!-- written by `pile-tools card` from manifest.json -->"
_TABLE: Final = re.compile(r"documents(-\d+)?\.parquet")
# The Hub loads files of one kind together.
_KINDS: Final = {".parquet": "parquet", ".txt": "text"}
_SIZES: Final = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")


def write_card(directory: Path, description: Description, *, replace: bool = False) -> list[Path]:
    """Write ``croissant.json`` and ``README.md`` into ``directory``, the output of a stage; return both.

    Every file that the manifest and the orders beside it list is described with its SHA-256. A README
    that something else wrote is only overwritten with ``replace``. Raises PileToolsError where there is
    one, and UnfinishedError for a directory without a manifest.
    """
    manifest = Manifest.read(directory)
    files = _files(directory, manifest)
    value = croissant(description, manifest, files)
    header = {"pretty_name": description.name} | description_header(description) | _header(manifest, files)
    body = _readme(description, manifest, files, lineage(directory))
    with DirectoryLock(directory):
        card = write_readme(directory, header, body, replace=replace)
        with atomic_write(path_inside(directory, CROISSANT_NAME)) as file:
            file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return [directory / CROISSANT_NAME, card]


def write_readme(directory: Path, header: Mapping[str, Any], body: str, *, replace: bool) -> Path:
    """Write ``README.md`` with the YAML ``header`` that the Hub reads; return its path.

    The caller holds the lock of the directory. One that something else wrote is only overwritten with
    ``replace``; PileToolsError without.
    """
    card = path_inside(directory, CARD_NAME)
    if not replace and card.is_file() and _MARK not in card.read_text(errors="replace"):
        raise PileToolsError(f"{card}: not written by `pile-tools card`; say `--replace` to overwrite it")
    # A JSON value is a YAML value, whatever is in a string.
    lines = "".join(f"{key}: {orjson.dumps(value).decode()}\n" for key, value in header.items())
    with atomic_write(card) as file:
        file.write(f"---\n{lines}---\n{_MARK}\n\n{body.rstrip()}\n".encode())
    return card


def _files(directory: Path, manifest: Manifest) -> list[FileEntry]:
    """Every file of the directory that is of known content: of the stage, and of the orders beside it."""
    files = [*manifest.outputs, file_entry(directory / MANIFEST_NAME)]
    for path in sorted([*directory.glob(ORDER_NAME), *directory.glob(f"*_{ORDER_NAME}")]):
        files += [*parse_record(path.read_bytes(), str(path)).files, file_entry(path)]
    return list({entry.name: entry for entry in files}.values())  # of fetched steps the order is an output


def description_header(description: Description) -> dict[str, Any]:
    """Return what the publisher says, under the Hub's keys."""
    values: dict[str, Any] = {}
    if description.license is not None:
        if "://" in description.license:
            values |= {"license": "other", "license_link": description.license}
        else:
            values["license"] = description.license.lower()
    if description.languages:
        values["language"] = list(description.languages)
    return values


def _header(manifest: Manifest, files: Sequence[FileEntry]) -> dict[str, Any]:
    values: dict[str, Any] = {"tags": ["pile-tools", manifest.stage]}
    documents = manifest.counts.get("kept", manifest.counts.get("documents"))
    if documents is not None:
        size = next((name for power, name in enumerate(_SIZES, 3) if documents < 10**power), "n>1B")
        values["size_categories"] = [size]
    tables = [entry.name for entry in files if _TABLE.fullmatch(entry.name)]
    configs = [{"config_name": Path(name).stem, "data_files": name} for name in tables]
    values["configs"] = _data_configs(files) or configs
    return values


def _data_configs(files: Sequence[FileEntry]) -> list[dict[str, Any]]:
    """The shards of a corpus as configurations of the Hub, one for each kind of file.

    Their names are glob patterns there, in which a colon ends the name of a protocol.
    """
    kinds: dict[str, list[str]] = {}
    for entry in files:
        if entry.documents is not None:
            kind = _KINDS.get(Path(entry.name).suffix, "json")
            kinds.setdefault(kind, []).append(glob.escape(entry.name).replace(":", "[:]"))
    names = {kind: "default" if len(kinds) == 1 else kind for kind in kinds}
    return [{"config_name": names[kind], "data_files": shards} for kind, shards in kinds.items()]


def markdown_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _code(name: str) -> str:
    """A name as code on one line of Markdown, whatever is in it."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def _sources(manifest: Manifest) -> str:
    sources: dict[str, dict[str, int]] = manifest.counts.get("sources", {})
    columns = list(next(iter(sources.values()), {}))
    rows = [
        (name or "(none)", *(f"{counts[column]:,}" for column in columns))
        for name, counts in sorted(sources.items())
    ]
    return markdown_table(("source", *(column.replace("_", " ") for column in columns)), rows) if rows else ""


def chain_table(links: Sequence[Link]) -> str:
    """Return the chain of stages, with their parameters, as a table in Markdown."""
    rows = []
    for link in links:
        manifest = link.manifest
        parameters = manifest.parameters if manifest else {}
        said = ", ".join(f"{key} {orjson.dumps(value).decode()}" for key, value in parameters.items())
        rows.append((manifest.stage if manifest else "?", f"`{link.identity}`", said))
    return markdown_table(("stage", "identity", "parameters"), rows)


def _readme(
    description: Description, manifest: Manifest, files: Sequence[FileEntry], links: list[Link]
) -> str:
    tokens = ""
    if manifest.stage == "tokenize":
        parameters, counts = manifest.parameters, manifest.counts
        eod = parameters["eod_token"]
        ends = f"each ended by `{eod}` (id {parameters['eod_id']})" if eod else "with no token between them"
        tokens = (
            f"{counts['tokens']:,} tokens of {counts['documents']:,} documents, {ends}, as "
            f"{parameters['dtype']}; tokenizer {parameters['tokenizer']['name']} "
            f"(SHA-256 `{parameters['tokenizer']['sha256']}`).\n\n"
            "```bash\npile-tools batch --data . --step 0 --row 0   # what one step shows to the model\n"
            "pile-tools trace --data . --step 0 --row 0   # and where it came from\n"
            "pile-tools verify .                          # whether every byte is as it was written\n```\n\n"
        )
    rows = [(_code(entry.name), f"{entry.bytes:,}", f"`{entry.sha256}`") for entry in files]
    citation = f"## Citation\n\n```\n{description.citation}\n```\n\n" if description.citation else ""
    return (
        f"# {description.name}\n\n{description.description}\n\n{tokens}"
        f"## Content\n\n{_sources(manifest)}\n"
        f"## How it was made\n\n{chain_table(links)}\n"
        f"## Files\n\n{markdown_table(('file', 'bytes', 'SHA-256'), rows)}\n{citation}"
    )
