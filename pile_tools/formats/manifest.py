"""``manifest.json``: what a directory was made from, with which parameters, and what is in it.

Canonical JSON: sorted keys, no floats, no clock times and no absolute paths, so that the same work
gives the same bytes. The SHA-256 of those bytes is the manifest's identity, by which a later stage's
manifest names its parents.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.names import check_name, path_inside

__all__ = [
    "MANIFEST_NAME",
    "FileEntry",
    "Manifest",
    "canonical_json",
    "file_entry",
    "sha256_file",
]

MANIFEST_NAME = "manifest.json"
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
    where the only parent has an output of this name, or where no stage of ours made it.
    """

    name: str
    bytes: int
    sha256: str
    documents: int | None = None
    parent: str | None = None
    parent_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}
        if self.documents is not None:
            entry["documents"] = self.documents
        if self.parent is not None:
            entry |= {"parent": self.parent, "parent_name": self.parent_name}
        return entry

    def path(self, directory: Path) -> Path:
        """Return the path of the file in ``directory``; DataError where the name leads out of it."""
        return path_inside(directory, self.name)

    def is_in(self, directory: Path) -> bool:
        """Whether ``directory`` holds a file of this name and size."""
        path = self.path(directory)
        return path.is_file() and path.stat().st_size == self.bytes

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], record: str) -> Self:
        """Return an entry of the file ``record``; DataError for a name that is not inside of a directory."""
        parent_name = entry.get("parent_name")
        return cls(
            check_name(entry["name"], record),
            int(entry["bytes"]),
            str(entry["sha256"]),
            entry.get("documents"),
            entry.get("parent"),
            None if parent_name is None else check_name(parent_name, record),
        )


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
    def find(cls, directory: Path) -> Self | None:
        """Read the manifest of ``directory``; None where there is none, or one that is not of pile-tools."""
        try:
            content = (directory / MANIFEST_NAME).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls.find_in(content, str(directory / MANIFEST_NAME))

    @classmethod
    def find_in(cls, content: bytes | None, name: str) -> Self | None:
        """Return the manifest that the bytes of the file ``name`` hold; None where they are another tool's.

        Bytes that name our format and are damaged are a DataError.
        """
        return cls.parse(content, name) if content and b'"pile-tools manifest ' in content else None

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the manifest of ``directory``.

        Raises UnfinishedError where there is none and DataError where its bytes are not a manifest
        in canonical form.
        """
        path = directory / MANIFEST_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if not directory.is_dir():
                raise PileToolsError(f"{directory}: no such directory") from None
            raise UnfinishedError(
                f"{path}: missing, so {directory} is unfinished; run the command that makes it again"
            ) from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Return the manifest that ``content``, the bytes of the file ``name``, holds.

        Raises DataError where they are not a manifest in canonical form.
        """
        try:
            value = orjson.loads(content)
            if value["format"] != _FORMAT:
                raise DataError(f"{name}: format {value['format']!r}, but this version reads {_FORMAT!r}")
            manifest = cls(
                stage=value["stage"],
                parameters=value["parameters"],
                inputs=[FileEntry.from_json(entry, name) for entry in value["inputs"]],
                outputs=[FileEntry.from_json(entry, name) for entry in value["outputs"]],
                counts=value["counts"],
                parents=[check_name(identity, name, nested=False) for identity in value["parents"]],
                versions=value["versions"],
            )
            same = manifest.to_bytes() == content
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{name}: not a pile-tools manifest ({error}); make its directory again"
            ) from None
        if not same:
            raise DataError(f"{name}: edited by hand or damaged; make its directory again")
        return manifest
