"""Texts of the inputs of a finished deduplication, read where they are now."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.corpus import Shard, list_shards
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.history import History
from pile_tools.formats.locations import parse_locations
from pile_tools.formats.manifest import FileEntry, sha256_file
from pile_tools.formats.signatures import SIGNATURES_NAME
from pile_tools.stages.dedup_write import INPUTS_NAME

__all__ = ["InputTexts", "TextGoneError"]


class TextGoneError(PileToolsError):
    """A shard is not where it was."""


@dataclass(frozen=True, slots=True)
class InputTexts:
    """Texts of the inputs of ``history.own``, which lies in ``output``, each proved by its shard's SHA-256.

    They are looked for in ``corpus``, or where they were if that is empty.
    """

    output: Path
    history: History
    corpus: Sequence[Path] = ()
    _proved: dict[str, tuple[Path, Mapping[str, Any]]] = field(default_factory=dict, repr=False)

    def text(self, name: str, row: int) -> str:
        """Return the text in ``row`` of input shard ``name``.

        Raises ParameterError for a shard that was no input, OutOfRangeError for a row without a
        document, TextGoneError where the shard is not found, DataError where it is not what was read.
        """
        if name not in self._proved:
            self._proved[name] = self._prove(name)
        path, parameters = self._proved[name]
        return _text(Shard(path, self._own_name(name)[1]), row, parameters)

    def _prove(self, name: str) -> tuple[Path, Mapping[str, Any]]:
        """The file that is what was read as ``name``, and the parameters by which it was read."""
        known = list(self._known(name))
        if not known:
            raise ParameterError(f"{self.output}: no input shard called {name!r}; {self._names()}")
        paths = self._paths(name)
        if not paths:
            raise TextGoneError(
                f"{self._where(name) or name}: the shard is not where it was; say where its corpus is with "
                "`--corpus`"
            )
        return _choose(paths, known)

    def _names(self) -> str:
        names = [entry.name for entry in self.history.own.inputs if entry.documents is not None]
        return f"they are {', '.join(names[:3])}" + (", …" if len(names) > 3 else "")

    def _own_name(self, name: str) -> tuple[str | None, str]:
        """Label of the corpus that was compared against, None for no such, and the shard's name in it."""
        for label in self.history.own.parameters.get("against", ()):
            if name.startswith(f"{label}:"):
                return label, name[len(label) + 1 :]
        return None, name

    def _known(self, name: str) -> Iterator[tuple[FileEntry, Mapping[str, Any]]]:
        """What the file ``name`` was, and the parameters of the stage that read its text."""
        own = self.history.own
        entries = {entry.name: entry for entry in own.inputs}
        if name in entries:
            yield entries[name], own.parameters
        # Saved signatures stood for the text, and the manifest of their directory says what that was.
        saved = entries.get(f"{name}.documents.npy")
        own_name = self._own_name(name)[1]
        for identity in own.parents if saved is not None else ():
            maker = self.history.ancestors.get(identity)
            outputs = {} if maker is None else {entry.name: entry for entry in maker.outputs}
            signed = outputs.get(f"{SIGNATURES_NAME}/{own_name}.documents.npy")
            if maker and saved and signed and signed.sha256 == saved.sha256 and own_name in outputs:
                yield outputs[own_name], maker.parameters

    def _where(self, name: str) -> Path | None:
        hints = self.output / INPUTS_NAME
        where = parse_locations(hints.read_bytes(), str(hints)) if hints.exists() else {}
        return Path(os.path.normpath(self.output / where[name])) if name in where else None

    def _paths(self, name: str) -> list[Path]:
        """Files that may be the shard, the likeliest first."""
        if not self.corpus:
            path = self._where(name)
            return [path] if path is not None and path.is_file() else []
        label, own_name = self._own_name(name)
        labels = self.history.own.parameters.get("against", ())
        expected = (label,) if label is not None else ()
        given = sorted(
            self.corpus,
            key=lambda path: (path.resolve().name in labels) != (path.resolve().name in expected),
        )
        shards = [shard for path in given for shard in list_shards([path])]
        if len(given) > 1 and not any(shard.name in (name, own_name) for shard in shards):
            shards = list_shards(given)  # their names tell apart shards of one name
        return [shard.path for shard in shards if shard.name in (name, own_name)]


def _choose(
    paths: list[Path], known: list[tuple[FileEntry, Mapping[str, Any]]]
) -> tuple[Path, Mapping[str, Any]]:
    """The file that is what was read, by its size and SHA-256. Raises DataError where none is."""
    fits = [(path, *one) for path in paths for one in known if path.stat().st_size == one[0].bytes]
    digests = {path: sha256_file(path) for path in dict.fromkeys(path for path, _, _ in fits)}
    for path, entry, parameters in fits:
        if digests[path] == entry.sha256:
            return path, parameters
    remedy = "name the corpus as it was with `--corpus`"
    if fits:
        raise DataError(f"{fits[0][0]}: changed since it was deduplicated (another SHA-256); {remedy}")
    size = paths[0].stat().st_size
    raise DataError(f"{paths[0]}: {size} bytes, but {known[0][0].bytes} when it was deduplicated; {remedy}")


def _text(shard: Shard, row: int, parameters: Mapping[str, Any]) -> str:
    if row < 0:
        raise OutOfRangeError(f"{shard.path}: row {row}; rows are numbered from 0")
    reader = ShardReader(
        shard,
        text_field=parameters["text_field"],
        source_field=parameters["source_field"],
        on_bad_record=parameters["on_bad_record"],
        max_record_bytes=parameters["max_document_bytes"],
        batch_bytes=1,
        only_rows=row,
    )
    batch = next(iter(reader), None)
    if batch is None:
        raise OutOfRangeError(f"{shard.path}: no document in row {row}")
    return batch.texts()[0]
