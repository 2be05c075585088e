"""``manifest.json``: what a directory was made from, with which parameters, and what is in it.

Canonical JSON: sorted keys, no floats, no clock times and no absolute paths, so that the same work
gives the same bytes. The SHA-256 of those bytes is the manifest's identity, by which a later stage's
manifest names its parents.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from pile_tools.errors import DataError, MissingFileError, UnfinishedError
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.names import path_inside
from pile_tools.storage.records import (
    RecordKind,
    Section,
    boolean,
    fields,
    file_name,
    integer,
    items,
    mapping,
    optional,
    section,
    text,
)

__all__ = [
    "FILE_ENTRY",
    "MANIFEST_NAME",
    "UNFINISHED_NAME",
    "FileEntry",
    "Manifest",
    "canonical_json",
    "file_entry",
    "sha256_file",
]

MANIFEST_NAME = "manifest.json"
UNFINISHED_NAME = ".unfinished"
"""Name of the work folder in the output directory of a stage that has not ended."""
_FORMAT = "pile-tools manifest 1"


def _refuse_floats(value: object, where: str) -> None:
    if isinstance(value, float):
        raise TypeError(f"{where}: a float has no canonical form; store an integer or a string")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_floats(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_floats(item, f"{where}[{index}]")


def canonical_json(value: object) -> bytes:
    """Return ``value`` as UTF-8 JSON with sorted keys, two-space indents and a final newline.

    Raises TypeError for a float anywhere in ``value``.
    """
    _refuse_floats(value, "$")
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file named by a manifest: ``name`` relative to its directory, with "/" between parts.

    Of an input, ``parent`` and ``parent_name`` say which parent's output it is and its name there; None
    where the only parent has an output of this name, or where no stage of ours made it. Of an output,
    ``input`` names the input whose records it has; None where that has the same name, or there is none.
    """

    name: str
    bytes: int
    sha256: str
    documents: int | None = None
    parent: str | None = None
    parent_name: str | None = None
    input: str | None = None

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}
        if self.documents is not None:
            entry["documents"] = self.documents
        if self.parent is not None:
            entry |= {"parent": self.parent, "parent_name": self.parent_name}
        if self.input is not None:
            entry["input"] = self.input
        return entry

    def path(self, directory: Path) -> Path:
        """Return the path of the file in ``directory``; DataError where the name leads out of it."""
        return path_inside(directory, self.name)

    def is_in(self, directory: Path) -> bool:
        """Whether ``directory`` holds a file of this name and size."""
        path = self.path(directory)
        return path.is_file() and path.stat().st_size == self.bytes


FILE_ENTRY: Final = fields(
    {"name": file_name(), "bytes": integer(), "sha256": text()},
    FileEntry,
    absent={
        "documents": integer(),
        "parent": text(),
        "parent_name": optional(file_name()),
        "input": optional(file_name()),
    },
)
"""The shape of an entry in a record."""


def file_entry(path: Path, name: str | None = None, documents: int | None = None) -> FileEntry:
    """Measure and hash the file ``path``; its entry carries ``name`` (default: the file's own)."""
    return FileEntry(name or path.name, path.stat().st_size, sha256_file(path), documents)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a stage did.

    ``counts`` holds the stage's own integers (documents in, removed, kept, …); ``parents`` the
    identities of the manifests of the directories that the inputs came from; ``versions`` the
    libraries whose release can change a byte of the outputs.
    """

    stage: str
    parameters: Mapping[str, Any]
    inputs: Sequence[FileEntry]
    outputs: Sequence[FileEntry]
    counts: Mapping[str, Any] = field(default_factory=dict)
    parents: Sequence[str] = field(default_factory=list)
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return canonical_json(
            {
                "format": _FORMAT,
                "stage": self.stage,
                "parameters": dict(self.parameters),
                "inputs": [entry.to_json() for entry in self.inputs],
                "outputs": [entry.to_json() for entry in self.outputs],
                "counts": dict(self.counts),
                "parents": list(self.parents),
                "versions": dict(self.versions),
            }
        )

    @property
    def identity(self) -> str:
        """SHA-256 of the manifest's bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def write(self, directory: Path) -> None:
        """Write ``manifest.json``; everything that it lists must be in its place already."""
        with atomic_write(directory / MANIFEST_NAME) as file:
            file.write(self.to_bytes())

    def check_outputs(self, directory: Path) -> None:
        """Raise DataError for the first output that ``directory`` does not hold, or holds in another size."""
        for entry in self.outputs:
            if not entry.is_in(directory):
                raise DataError(
                    f"{directory / entry.name}: changed or missing since the run that finished {directory}; "
                    "remove the directory and run again"
                )

    @classmethod
    def find(cls, directory: Path) -> "Manifest | None":
        """Read the manifest of ``directory``; None where there is none, or one that is not of pile-tools."""
        try:
            content = (directory / MANIFEST_NAME).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls.find_in(content, str(directory / MANIFEST_NAME))

    @classmethod
    def find_in(cls, content: bytes | None, name: str) -> "Manifest | None":
        """Return the manifest that the bytes of the file ``name`` hold; None where they are another tool's.

        Bytes that name our format and are damaged are a DataError.
        """
        return cls.parse(content, name) if content and b'"pile-tools manifest ' in content else None

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Read the manifest of ``directory``.

        Raises UnfinishedError where there is none and DataError where its bytes are not a manifest
        in canonical form.
        """
        path = directory / MANIFEST_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if not directory.is_dir():
                raise MissingFileError(f"{directory}: no such directory") from None
            raise UnfinishedError(
                f"{path}: missing, so {directory} is unfinished; run the command that makes it again"
            ) from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, name: str) -> "Manifest":
        """Return the manifest that ``content``, the bytes of the file ``name``, holds.

        Raises DataError where they are not a manifest in canonical form.
        """
        manifest = _MANIFEST.read(content, name)
        remedy = _MANIFEST.remedy
        return replace(
            manifest,
            parameters=Section(manifest.parameters, name, remedy),
            counts=Section(manifest.counts, name, remedy),
        )


_COUNTS: Final = mapping(text(), integer())
_TOKENIZER: Final = section({"name": text(), "sha256": text()})
# The parameters and counts that the stages that come later read, where a manifest has them.
_PARAMETERS: Final = section(
    {
        "against": items(text()),
        "dtype": text(),
        "eod_id": optional(integer()),
        "eod_token": optional(text()),
        "machine": section({}),
        "method": text(),
        "ngram": integer(1),
        "normalize": text(),
        "recipe": section({"model": section({}), "optimizer": section({})}),
        "save_signatures": boolean(),
        "tokenizer": _TOKENIZER,
    }
)
_STAGE_COUNTS: Final = section(
    {"max_id": integer(-1)}
    | {name: integer() for name in ("documents", "kept", "removed", "tokens")}
    | {"components": _COUNTS, "similarities": _COUNTS, "without_source": _COUNTS}
    | {"sources": mapping(text(), _COUNTS)}
)
_MANIFEST: Final = RecordKind[Manifest](
    "a pile-tools manifest",
    "make its directory again",
    {
        _FORMAT: fields(
            {
                "stage": text(),
                "parameters": _PARAMETERS,
                "inputs": items(FILE_ENTRY, make=list),
                "outputs": items(FILE_ENTRY, make=list),
                "counts": _STAGE_COUNTS,
                "parents": items(file_name(nested=False), make=list),
                "versions": mapping(text(), text()),
            },
            Manifest,
        )
    },
    Manifest.to_bytes,
)
