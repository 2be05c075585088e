import json
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pile_tools.errors import PileToolsError
from pile_tools.formats.corpus import list_shards
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.zstd import zstd_chunks
from pile_tools.stages.demo import demo_steps, make_demo_corpus


def test_every_file_is_one_document(demo_corpus: Path, small_library: Path) -> None:
    records = {}
    for shard in list_shards([demo_corpus]):
        for line in b"".join(zstd_chunks(shard.path)).splitlines():
            record = json.loads(line)
            records[record["meta"]["file"]] = record
    files = [p for p in small_library.rglob("*") if p.suffix in {".py", ".txt"} and p.read_text().strip()]
    assert sorted(records) == sorted(p.relative_to(small_library).as_posix() for p in files)
    assert records["json/decoder.py"]["text"] == (small_library / "json/decoder.py").read_text()
    assert Counter(r["meta"]["pile_set_name"] for r in records.values())["text"] > 100


def test_tokenizer_is_as_described(demo_corpus: Path) -> None:
    tokenizer = Tokenizer.from_file(str(demo_corpus / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 8192
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    text = "def f(x):\n    return 'é 😀'\n"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_same_files_give_the_same_bytes(demo_corpus: Path, small_library: Path, tmp_path: Path) -> None:
    made = make_demo_corpus(tmp_path / "corpus", library=small_library)
    for path in sorted(demo_corpus.iterdir()):
        assert path.read_bytes() == (tmp_path / "corpus" / path.name).read_bytes(), path.name
    before = (tmp_path / "corpus/tokenizer.json").stat().st_mtime_ns
    assert make_demo_corpus(tmp_path / "corpus", library=small_library) == made
    assert (tmp_path / "corpus/tokenizer.json").stat().st_mtime_ns == before


def test_documents_reach_the_reader(demo_corpus: Path) -> None:
    sources = {s for shard in list_shards([demo_corpus]) for b in ShardReader(shard) for s in b.sources}
    assert sources == {"concurrency", "internet", "text", "files and formats"}


def test_library_without_text(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no standard library"):
        make_demo_corpus(tmp_path / "out", library=tmp_path)


def test_steps_are_whole_and_within_the_epochs() -> None:
    assert demo_steps(tokens=2048 * 80, seq_length=2048, batch_size=8) == 29
    assert demo_steps(tokens=2048 * 80 + 1, seq_length=2048, batch_size=8) == 30
