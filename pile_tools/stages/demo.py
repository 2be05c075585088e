"""A corpus that every Python installation has: its own standard library, with a tokenizer trained on it."""

import sysconfig
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import orjson
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools import __version__
from pile_tools.errors import OutOfRangeError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.lines import shard_lines
from pile_tools.formats.manifest import FileEntry, Manifest, file_entry
from pile_tools.formats.zstd import RowFrameWriter
from pile_tools.stages.demo_themes import theme
from pile_tools.stages.executor import Progress, no_progress
from pile_tools.stages.workspace import Workspace

__all__ = ["DEMO_EPOCHS", "TOKENIZER_NAME", "demo_file", "demo_steps", "make_demo_corpus"]

EOD_TOKEN = "<|endoftext|>"
TOKENIZER_NAME = "tokenizer.json"
VOCABULARY_SIZE = 8192
DEMO_EPOCHS = 3
_N_SHARDS = 4
_SUFFIXES = (".py", ".txt")
# Not part of every installation, or not text of the library itself.
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"}


def _library_files(library: Path) -> Iterator[tuple[str, str]]:
    """Yield name (relative to the library) and text of each file, in order of names."""
    paths = [
        path
        for path in library.rglob("*")
        if path.suffix in _SUFFIXES
        and not _LEFT_OUT & set(path.relative_to(library).parts)
        and path.is_file()
    ]
    for path in sorted(paths, key=lambda path: path.relative_to(library).as_posix()):
        text = path.read_bytes().decode("utf-8", "replace")
        if text.strip():
            yield path.relative_to(library).as_posix(), text


def _record(name: str, text: str) -> bytes:
    meta = {"pile_set_name": theme(name), "file": name}
    return orjson.dumps({"text": text, "meta": meta}, option=orjson.OPT_APPEND_NEWLINE)


def _train_tokenizer(texts: list[str]) -> bytes:
    """A byte-level BPE of ``VOCABULARY_SIZE`` entries, with ``EOD_TOKEN`` as id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[EOD_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    trained: str = tokenizer.to_str(pretty=True)
    return trained.encode() + b"\n"


def make_demo_corpus(
    directory: Path, *, library: Path | None = None, progress: Progress = no_progress
) -> Manifest:
    """Write a Pile-style corpus of ``.jsonl.zst`` shards and ``tokenizer.json`` into ``directory``.

    Each ``.py`` and ``.txt`` file of ``library`` (default: the running Python's standard library, without
    its tests) is one document, ``{"text": …, "meta": {"pile_set_name": theme of its module, "file": …}}``;
    the documents are dealt to the shards in turn. The bytes depend on the files alone. Returns the
    manifest.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    files = list(_library_files(library))
    if not files:
        raise PileToolsError(f"{library}: no .py or .txt files; this Python has no standard library to read")
    records = [_record(name, text) for name, text in files]
    parameters = {
        "documents_sha256": sha256(b"".join(records)).hexdigest(),
        "shards": _N_SHARDS,
        "vocabulary": VOCABULARY_SIZE,
    }
    with Workspace(directory, stage="demo", parameters=parameters, inputs=[]) as space:
        if space.finished is not None:
            return space.finished
        outputs: list[FileEntry] = []
        for number in range(_N_SHARDS):
            path = directory / f"stdlib-{number:02}.jsonl.zst"
            with atomic_write(path) as file:
                writer = RowFrameWriter(file)
                for record in records[number::_N_SHARDS]:
                    writer.write(record)
                writer.close()
            outputs.append(file_entry(path, documents=len(records[number::_N_SHARDS])))
            progress("corpus", number + 1, _N_SHARDS + 1)
        with atomic_write(directory / TOKENIZER_NAME) as file:
            file.write(_train_tokenizer([text for _, text in files]))
        outputs.append(file_entry(directory / TOKENIZER_NAME))
        progress("corpus", _N_SHARDS + 1, _N_SHARDS + 1)
        manifest = Manifest(
            stage="demo",
            parameters=parameters,
            inputs=[],
            outputs=outputs,
            counts={"documents": len(files)},
            versions={"pile-tools": __version__, "tokenizers": tokenizers.__version__},
        )
        space.finish(manifest)
        return manifest


def demo_file(corpus: Path, shard: str, row: int) -> str:
    """Name of the library's file that became row ``row`` of ``shard`` of a corpus made of the demo's."""
    for number, piece in enumerate(shard_lines(Shard(corpus / shard, shard))):
        if number == row:
            name: str = orjson.loads(piece.data)["meta"]["file"]
            return name
    raise OutOfRangeError(f"{corpus / shard}: no row {row}")


def demo_steps(tokens: int, seq_length: int, batch_size: int) -> int:
    """Number of whole steps in ``DEMO_EPOCHS`` epochs of ``tokens`` tokens."""
    return (DEMO_EPOCHS * tokens - 1) // seq_length // batch_size
