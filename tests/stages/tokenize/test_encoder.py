"""The two encoders give the same ids, and where they do not, `tokenizers` has the last word."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pile_tools.errors import BulkEncoderError
from pile_tools.formats.tokenizer import TokenizerFile, read_tokenizer
from pile_tools.stages.tokenize.encoder import (
    DIFFERS,
    PROBES,
    BulkEncoder,
    Encoded,
    Judge,
    ReferenceEncoder,
    bulk_encoder,
)
from pile_tools.stages.tokenize.tokenize import tokenize

NEOX = Path(__file__).parents[3] / "../shared/tokenizer/20B_tokenizer.json"
TRICKY = [
    *(" \n\t\r\x00\x01\x7f\x85\u00a0\u2028\u3000\u200b\u200d\ufeff\ufffd"),
    *["  ", "    ", " " * 23, " " * 24, " " * 25, " " * 60, "\n\n", "\r\n"],
    *[
        "e\u0301",
        "é",
        "\u0301",
        "\u212b",
        "\u1100\u1161\u11a8",
        "가",
        "각",
        "\u0958",
        "\u0f71\u0f72",
        "ﬃ",
        "İ",
        "ß",
    ],
    *["<|endoftext|>", "<|padding|>", "<|endof", "|>", "'s", "'LL", "don't", "1", "2024", "٣", "½", "Ⅷ"],
    *[
        "漢字",
        "かな",
        "ไทย",
        "العربية",
        "😀",
        "\U0001f468\u200d\U0001f469",
        "\U0001f1eb\U0001f1f7",
        "\U0002f800",
    ],
    *["hello", "World", "def f(x):\n    return x", "http://a.b/c?d=e", "-" * 40, "x" * 50],
]


@pytest.fixture(scope="session", params=["neox", "demo"])
def trained(request: pytest.FixtureRequest, demo_corpus: Path) -> TokenizerFile:
    if request.param == "neox" and not NEOX.exists():
        pytest.skip("needs the GPT-NeoX tokenizer")
    return read_tokenizer(str(NEOX if request.param == "neox" else demo_corpus))


def same(tokenizer: TokenizerFile, texts: Sequence[str]) -> bool:
    one, two = BULK[tokenizer.sha256].encode(texts), REFERENCE[tokenizer.sha256].encode(texts)
    return np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


class Loaded(dict[str, Any]):
    """Encoders by the tokenizer's hash: hypothesis asks for them hundreds of times."""


BULK, REFERENCE = Loaded(), Loaded()


@pytest.fixture(autouse=True)
def _load(request: pytest.FixtureRequest) -> None:
    if "trained" in request.fixturenames:
        tokenizer = request.getfixturevalue("trained")
        BULK.setdefault(tokenizer.sha256, BulkEncoder(tokenizer))
        REFERENCE.setdefault(tokenizer.sha256, ReferenceEncoder(tokenizer))


def test_probes_pass(trained: TokenizerFile) -> None:
    bulk_encoder(trained)
    assert same(trained, PROBES)


@settings(deadline=None, max_examples=200)
@given(parts=st.lists(st.sampled_from(TRICKY) | st.text(max_size=20), max_size=60))
def test_both_give_the_same_ids_for_tricky_text(trained: TokenizerFile, parts: list[str]) -> None:
    assert same(trained, ["".join(parts), *parts])


def test_both_give_the_same_ids_for_every_block_of_unicode(trained: TokenizerFile) -> None:
    points = [p for p in range(0, 0x110000, 61) if not 0xD800 <= p < 0xE000]
    assert same(trained, [f"a{chr(p)}\u0301 {chr(p)}{chr(p)}1" for p in points])


def test_both_give_the_same_ids_for_code(trained: TokenizerFile, small_library: Path) -> None:
    texts = [path.read_text() for path in sorted(small_library.rglob("*.py"))[:60]]
    assert same(trained, texts)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        " " * 100_000,
        "\n" * 100_000,
        "ab" * 50_000,
        "漢" * 100_000,
        "e\u0301" * 50_000,
        "1234567890" * 10_000,
        "<|endoftext|>" * 8_000,
        "".join(random.Random(0).choices("abcdefghij", k=100_000)),
        "".join(random.Random(1).choices(TRICKY, k=20_000)),
    ],
    ids=lambda text: repr(text[:6]),
)
@pytest.mark.slow
def test_both_give_the_same_ids_for_100_kb_at_a_stretch(trained: TokenizerFile, text: str) -> None:
    assert same(trained, [text])


def test_neither_truncates_nor_pads_nor_adds_tokens(trained: TokenizerFile, tmp_path: Path) -> None:
    loaded = Tokenizer.from_str(trained.content.decode())
    loaded.enable_truncation(3)
    loaded.enable_padding(length=9)
    eod = ("<|endoftext|>", 0)
    loaded.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[eod])
    loaded.save(str(tmp_path / "tokenizer.json"))
    changed = read_tokenizer(str(tmp_path))
    texts = ["one two three four five six", "a"]
    for encoder in (ReferenceEncoder(changed), BulkEncoder(changed)):
        ids, counts = encoder.encode(texts)
        right = REFERENCE[trained.sha256].encode(texts)
        assert (ids.tolist(), counts.tolist()) == (right[0].tolist(), right[1].tolist())


def test_counts_are_of_each_text(trained: TokenizerFile) -> None:
    texts = ["", "a b", "", "c"]
    ids, counts = BULK[trained.sha256].encode(texts)
    assert counts.dtype == np.int64
    assert counts[[0, 2]].tolist() == [0, 0]
    assert counts.sum() == len(ids)


def test_reference_batches_join(trained: TokenizerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{i} " * (i % 7) for i in range(50)]
    whole = REFERENCE[trained.sha256].encode(texts)
    monkeypatch.setattr(ReferenceEncoder, "_BATCH_CHARACTERS", 10)
    parts = REFERENCE[trained.sha256].encode(texts)
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


class OneIdPerCharacter:
    """An encoder that can be made to err."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong, self.asked = wrong, [""]

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.asked += texts
        ids = [ord(c) + (c in self.wrong) for text in texts for c in text]
        return np.array(ids, np.uint32), np.array([len(text) for text in texts], np.int64)


def judged(texts: list[str], wrong: str = "", step: int = 7) -> tuple[list[str], int | None]:
    encoder, reference = OneIdPerCharacter(wrong), OneIdPerCharacter()
    judge = Judge(encoder, reference)
    for start in range(0, len(texts), step):
        batch = texts[start : start + step]
        place = judge.first_difference(batch, encoder.encode(batch))
        if place is not None:
            return reference.asked[1:], start + place
    assert judge.judged == len(reference.asked) - 1
    return reference.asked[1:], None


def test_the_judge_asks_for_the_first_and_a_fixed_sample() -> None:
    texts = [str(i) for i in range(1200)]
    expected = [*map(str, range(8)), "512", "1024"]
    assert judged(texts) == (expected, None)
    assert judged(texts, step=100) == (expected, None)


def test_the_judge_finds_the_first_difference() -> None:
    texts = ["a"] * 512 + ["b"] + ["a"] * 100
    assert judged(texts, wrong="b")[1] == 512
    assert judged(["a", "", "ab"], wrong="b")[1] == 2


def test_large_first_documents_are_judged_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "FIRST_CHARACTERS", 10)
    assert judged(["x" * 50, "y", "z"])[0] == ["x" * 50]
    assert judged(["x" * 9, "y" * 5, "z"])[0] == ["x" * 9, "y" * 5]
    monkeypatch.setattr(Judge, "MAX_CHARACTERS", 20)
    assert judged(["x" * 50, "y"])[0] == ["x" * 20]
    assert judged(["x" * 19 + "w" + "x" * 50], wrong="w")[1] == 0


def words(path: Path) -> Path:
    """A tokenizer of words, which fastokens does not load."""
    built = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    built.save(str(path))
    return path


def corpus(directory: Path, texts: list[str], shards: int = 2) -> Path:
    directory.mkdir()
    for number in range(shards):
        lines = [json.dumps({"text": text}) + "\n" for text in texts[number::shards]]
        (directory / f"{number}.jsonl").write_text("".join(lines))
    return directory


def data(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "manifest.json"}


def test_a_tokenizer_that_fastokens_cannot_load_is_left_to_tokenizers(tmp_path: Path) -> None:
    path = words(tmp_path / "words.json")
    with pytest.raises(BulkEncoderError, match=r"fastokens cannot load this tokenizer \(") as caught:
        bulk_encoder(read_tokenizer(str(path)))
    manifest = tokenize([corpus(tmp_path / "in", ["a b", "a"])], tmp_path / "t", tokenizer=str(path))
    assert manifest.counts["encoder"] == {"name": "tokenizers", "because": str(caught.value)}
    assert set(manifest.versions) == {"pile-tools", "pyarrow", "tokenizers"}
    assert np.fromfile(tmp_path / "t/document.bin", "<u2").tolist() == [2, 1, 0, 2, 0]


def test_the_result_does_not_depend_on_the_encoder(trained: TokenizerFile, tmp_path: Path) -> None:
    given_texts = corpus(tmp_path / "in", [*TRICKY, *PROBES, "".join(TRICKY)])
    settings = {"tokenizer": str(trained.path)}
    one = tokenize([given_texts], tmp_path / "one", **settings)  # type: ignore[arg-type]
    two = tokenize([given_texts], tmp_path / "two", encoder="tokenizers", **settings)  # type: ignore[arg-type]
    assert one.counts["encoder"]["name"] == "fastokens"
    assert one.counts["encoder"]["judged_documents"] == 16
    assert two.counts["encoder"] == {"name": "tokenizers", "because": "it was asked for"}
    assert "fastokens" in one.versions
    assert data(tmp_path / "one") == data(tmp_path / "two")


@pytest.mark.parametrize("workers", [1, 2])
def test_at_a_difference_the_whole_job_is_done_by_tokenizers(
    demo_corpus: Path, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The difference is in the last shard only, and the first was encoded by fastokens before."""
    encode = BulkEncoder.encode

    def wrong(self: BulkEncoder, texts: Sequence[str]) -> Encoded:
        ids, counts = encode(self, texts)
        return (ids + 1 if any("flaw" in text for text in texts) else ids), counts

    given_texts = corpus(tmp_path / "in", ["good", "flaw"] * 20)
    settings: Any = {"tokenizer": str(demo_corpus), "workers": workers, "start_method": "fork"}
    tokenize([given_texts], tmp_path / "right", encoder="tokenizers", **settings)
    monkeypatch.setattr(BulkEncoder, "encode", wrong)
    manifest = tokenize([given_texts], tmp_path / "t", **settings)
    assert manifest.counts["encoder"] == {"name": "tokenizers", "because": DIFFERS}
    assert data(tmp_path / "t") == data(tmp_path / "right")


def test_interrupted_after_the_difference_it_stays_with_tokenizers(
    demo_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_texts = corpus(tmp_path / "in", ["good"] * 40)
    monkeypatch.setattr(Judge, "first_difference", lambda self, texts, encoded: 0)
    with monkeypatch.context() as patch:

        def interrupt(self: ReferenceEncoder, texts: Sequence[str]) -> Encoded:
            if len(texts) == 20:
                raise KeyboardInterrupt
            return np.empty(0, np.uint32), np.zeros(len(texts), np.int64)

        patch.setattr(ReferenceEncoder, "encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tokenize([given_texts], tmp_path / "t", tokenizer=str(demo_corpus), workers=1)
    monkeypatch.undo()
    manifest = tokenize([given_texts], tmp_path / "t", tokenizer=str(demo_corpus), workers=1)
    assert manifest.counts["encoder"] == {"name": "tokenizers", "because": DIFFERS}


def test_a_panic_of_native_code_is_an_answer_too(
    demo_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        pass

    class Broken:
        def encode_batch_flat(self, texts: list[str], add_special_tokens: bool) -> tuple[bytes, bytes]:
            raise Panic("index out of bounds")

    tokenizer = read_tokenizer(str(demo_corpus))
    encoder = BulkEncoder(tokenizer)
    encoder._tokenizer = Broken()
    with pytest.raises(BulkEncoderError, match=r"cannot encode a text$"):
        encoder.encode(["a"])


def test_parts_of_two_versions_are_not_joined(
    demo_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_texts = corpus(tmp_path / "in", ["some text", "more"] * 20)
    tokenize([given_texts], tmp_path / "whole", tokenizer=str(demo_corpus), workers=1)
    with monkeypatch.context() as patch:

        def stop(*arguments: Any, **settings: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr("pile_tools.stages.tokenize.tokenize._place", stop)
        with pytest.raises(KeyboardInterrupt):
            tokenize([given_texts], tmp_path / "t", tokenizer=str(demo_corpus), workers=1)
    parts = sorted((tmp_path / "t/.unfinished").glob("part-*.json"))
    for part in parts:  # as an older release would have left them
        content = part.read_text()
        assert "fastokens 0" in content
        part.write_text(content.replace("fastokens 0", "fastokens 99"))
        part.with_suffix(".bin").write_bytes(b"other tokens")
    tokenize([given_texts], tmp_path / "t", tokenizer=str(demo_corpus), workers=1)
    assert data(tmp_path / "t") == data(tmp_path / "whole")
