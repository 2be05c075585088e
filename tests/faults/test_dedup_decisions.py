"""Decisions of a deduplication that were wrong: words, equal texts, partners, addresses, shown texts."""

import json
import random
import unicodedata
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pile_tools_cli.main import run

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.history import History
from pile_tools.formats.manifest import Manifest, file_entry
from pile_tools.formats.store import LocalStore
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.explain import explain
from pile_tools.stages.lineage import lineage
from tests.reference import dedup as oracle

GRANDMOTHER = "मेरी बेटी की बड़ी नानी आयी थी"
GRANDFATHER = "मेरा बेटा का बड़ा नाना आया था"


def write(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def kept(directory: Path, texts: list[str], **options: Any) -> list[str]:
    """The texts that stay of a corpus of one shard."""
    dedup([write(directory / "in/a.jsonl", texts)], directory / "out", resolve_job(**options), workers=1)
    return [json.loads(line)["text"] for line in (directory / "out/a.jsonl").read_text().splitlines()]


def removed(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(output / "dedup.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    "texts",
    [
        [GRANDMOTHER, GRANDFATHER],
        ["வீடு", "வாடா"],
        ["ที่นี่", "ทานา"],
        ["كَتَبَ", "كُتِبَ"],
        ["שָׁלוֹם", "שלום"],
        ["e\u0301", "e\u0300"],
    ],
)
def test_texts_that_differ_in_marks_both_stay(texts: list[str], tmp_path: Path) -> None:
    assert kept(tmp_path, texts) == texts
    assert kept(tmp_path / "preset", texts, preset="datasketch") == texts


@pytest.mark.parametrize("text", ["Ångström café", "가각힣", "が ぎ", "क़ ड़", "ொ ெ கொ", GRANDMOTHER])
def test_both_forms_of_a_text_are_equal(text: str, tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert kept(tmp_path, forms) == forms[:1]
    assert all(row["jaccard"] == 1.0 for row in removed(tmp_path / "out"))
    different = forms if forms[0] != forms[1] else forms[:1]
    assert kept(tmp_path / "none", forms, normalize="none") == different
    assert kept(tmp_path / "exact", forms, exact=True) == different


def test_compatibility_characters_are_equal_on_demand(tmp_path: Path) -> None:
    texts = ["ﬁve ㎏ of ａｂｃ ½", "five kg of abc 1⁄2"]
    assert kept(tmp_path, texts, normalize="nfkc") == texts[:1]
    assert kept(tmp_path / "nfc", texts) == texts


def test_normalisation_is_refused_where_it_means_nothing() -> None:
    for options in ({"exact": True}, {"preset": "pile-dedupe"}):
        with pytest.raises(ParameterError, match=r"leave out .*--normalize"):
            resolve_job(normalize="nfc", **options)


def test_equal_texts_without_a_word(tmp_path: Path) -> None:
    texts = ["👍👍", "---", "⠓⠑⠇", "", "hello", "\u0301"]
    assert kept(tmp_path, [text for text in texts for _ in "ab"], exact=True) == texts
    explained = explain(tmp_path / "out", "a.jsonl", 1)
    assert (explained.partner, explained.recorded, explained.similarity) == (("a.jsonl", 0), 1.0, 1.0)


def chain(seed: int) -> list[str]:
    """Windows that slide over a row of words, copies among them, and others with words of their own."""
    rng = random.Random(seed)
    texts = []
    for start in range(0, rng.randrange(4, 40), 2):
        window = [f"w{i}" for i in range(start, start + 20)]
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            changed = [word if rng.random() < 0.95 else f"own{rng.random()}" for word in window]
            texts += [" ".join(changed)] + [", ".join(changed)] * (rng.random() < 0.2)
    rng.shuffle(texts)
    return texts or ["w"]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), keep=st.sampled_from(["first", "last", "longest"]))
def test_partners_are_the_most_similar_of_their_component(
    seed: int, keep: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory, texts = tmp_path_factory.mktemp("chain"), chain(seed)
    kept(directory, texts, threshold="0.7", keep=keep, ngram=1)
    components = defaultdict(list)
    for row in removed(directory / "out"):
        components[row["component"]].append(row)
    for rows in components.values():
        gone = {row["row"] for row in rows}
        (stays,) = {row["duplicate_of_row"] for row in rows} - gone
        for row in rows:
            partner = oracle.partner(texts, sorted({*gone, stays}), stays, row["row"], 0.7)
            assert row["duplicate_of_row"] == partner
            sets = [oracle.shingles(texts[document], 1) for document in (row["row"], partner)]
            assert row["jaccard"] == float(oracle.similarity(*sets))


def test_partners_in_a_component_of_more_than_64(tmp_path: Path) -> None:
    texts = [" ".join(f"w{i}" for i in range(start, start + 20)) for start in range(0, 140, 2)]
    kept(tmp_path, texts, threshold="0.7", keep="last", ngram=1)
    rows = removed(tmp_path / "out")
    assert len(rows) == 69
    for row in rows:
        sets = [oracle.shingles(texts[row[name]], 1) for name in ("row", "duplicate_of_row")]
        assert row["jaccard"] == float(oracle.similarity(*sets)) >= 0.7


SIX = "one two three four five six"


@pytest.mark.parametrize("signatures", [False, True])
def test_own_shard_with_the_name_of_one_to_compare_against(signatures: bool, tmp_path: Path) -> None:
    job = resolve_job(save_signatures=signatures)
    dedup([write(tmp_path / "in1/a.jsonl", [SIX])], tmp_path / "kept", job, workers=1)
    texts = ["own first line, unlike all others here", SIX]
    own = [
        write(
            tmp_path / f"in2/{name}", [f"{name} {text}" if i == 0 else text for i, text in enumerate(texts)]
        )
        for name in ("kept:a.jsonl", "kept-2:a.jsonl", "b.jsonl")
    ]
    dedup(own, tmp_path / "out", job, against=[tmp_path / "kept"], workers=1)
    manifest = Manifest.read(tmp_path / "out")
    names = [entry.name for entry in manifest.inputs]
    assert len(set(names)) == len(names)
    assert manifest.parameters["against"] == ["kept-3"]
    rows = removed(tmp_path / "out")
    assert [(row["shard"], row["row"]) for row in rows] == [
        (name, 1) for name in ("b.jsonl", "kept-2:a.jsonl", "kept:a.jsonl")
    ]
    for row in rows:
        assert (row["duplicate_of_shard"], row["duplicate_of_row"]) == ("kept-3:a.jsonl", 0)
        for corpus in ([], [tmp_path / "in2", tmp_path / "kept"]):
            explained = explain(tmp_path / "out", row["shard"], 1, corpus=corpus)
            assert (explained.text, explained.partner_text) == (SIX, SIX)
    assert explain(tmp_path / "out", "kept:a.jsonl", 0).text.startswith("kept:a.jsonl own first line")


def test_labels_that_could_be_read_in_two_ways(tmp_path: Path) -> None:
    """The directories "x" and "x:y" with the shards "y:a.jsonl" and "a.jsonl"."""
    dedup([write(tmp_path / "in1/y:a.jsonl", [SIX])], tmp_path / "x", resolve_job(), workers=1)
    other = "seven eight nine ten eleven"
    dedup([write(tmp_path / "in2/a.jsonl", [other])], tmp_path / "x:y", resolve_job(), workers=1)
    own = write(tmp_path / "in3/b.jsonl", [SIX, other])
    against = [tmp_path / "x", tmp_path / "x:y"]
    dedup([own], tmp_path / "out", resolve_job(), against=against, workers=1)
    for row, text in enumerate((SIX, other)):
        assert explain(tmp_path / "out", "b.jsonl", row).partner_text == text


def test_explain_proves_what_it_shows(tmp_path: Path) -> None:
    corpus = write(tmp_path / "in/a.jsonl", [SIX, SIX, "something else"])
    dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    content = corpus.read_bytes()
    for row, text in ((1, b"six"), (2, b"else"), (2, b"text")):
        at = content.rindex(text)
        corpus.write_bytes(content[:at] + text.upper() + content[at + len(text) :])
        with pytest.raises(DataError, match=r"a\.jsonl: changed since .*--corpus"):
            explain(tmp_path / "out", "a.jsonl", row)
    corpus.write_bytes(content)
    assert explain(tmp_path / "out", "a.jsonl", 2).text == "something else"


def test_marked_words_hold_their_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = " ".join(f"w{i}" for i in range(60))
    texts = [f"{common} नानी cafe\u0301", f"{common} नाना café"]
    kept(tmp_path, texts, threshold="0.5")
    assert run(["explain", str(tmp_path / "out"), "--shard", "a.jsonl", "--row", "1"]) == 0
    printed = capsys.readouterr().out
    assert "[-नाना-]" in printed
    assert "{+नानी+}" in printed
    assert "caf" not in "".join(part for part in printed.split("-]") if "[-caf" in part)


def make_former(output: Path, corpus: Path) -> None:
    """Give ``output`` the manifest of version 0.1.0 over what is in ``corpus`` now."""
    manifest = Manifest.read(output)
    parameters = {k: v for k, v in manifest.parameters.items() if k not in ("rules", "normalize")}
    inputs = [replace(file_entry(corpus, corpus.name), documents=manifest.inputs[0].documents)]
    versions = {**manifest.versions, "unicode": "14.0.0"}
    replace(manifest, parameters=parameters, inputs=inputs, versions=versions).write(output)


def test_output_of_the_former_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write(tmp_path / "in/a.jsonl", [GRANDMOTHER, GRANDMOTHER])
    output = tmp_path / "out"
    job = resolve_job(save_signatures=True)
    dedup([corpus], output, job, workers=1)
    write(corpus, [GRANDMOTHER, GRANDFATHER])
    make_former(output, corpus)
    # It is read, and both similarities are shown.
    explained = explain(output, "a.jsonl", 1)
    assert (explained.recorded, explained.similarity, explained.former_rules) == (1.0, 0.0, True)
    assert run(["explain", str(output), "--shard", "a.jsonl", "--row", "1"]) == 0
    assert "similarity 0.0000 by the words of today, 1.0000 by those" in capsys.readouterr().out
    assert len(lineage(output)) == 1
    assert History.open(LocalStore(output)).own.stage == "dedup"
    # Nothing is compared with it, and it is not gone on with.
    new = write(tmp_path / "in2/b.jsonl", [GRANDFATHER])
    with pytest.raises(PileToolsError, match=r"deduplicated by rules 1 .*again with this version"):
        dedup([new], tmp_path / "out2", resolve_job(), against=[output], workers=1)
    assert not (tmp_path / "out2").exists()
    with pytest.raises(PileToolsError, match=r"normalize None, now 'nfc'; rules None, now 2.* `-o`"):
        dedup([corpus], output, job, workers=1)


def test_signatures_of_another_form_are_not_used(tmp_path: Path) -> None:
    texts = [unicodedata.normalize("NFD", "é à ô û ê ï")]
    job = resolve_job(save_signatures=True, normalize="none")
    dedup([write(tmp_path / "in1/a.jsonl", texts)], tmp_path / "kept", job, workers=1)
    new = write(tmp_path / "in2/b.jsonl", [unicodedata.normalize("NFC", texts[0])])
    dedup([new], tmp_path / "out", resolve_job(), against=[tmp_path / "kept"], workers=1)
    assert [row["duplicate_of_shard"] for row in removed(tmp_path / "out")] == ["kept:a.jsonl"]
