import dataclasses
import hashlib
import json
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pile_tools_cli.main import run
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from xxhash import xxh3_128_digest

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.trace import trace_pieces
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import Manifest
from pile_tools.stream.opening import open_location
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.viewer import BatchViewer

SENTENCES = (
    "he said that his dog saw him. ",
    "she gave the bread to himself and he ate it. ",
    "The others, of course, heard nothing — nothing at all. ",
    "He went home; the heuristic was wrong, they said. ",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token dataset with provenance, an order of two epochs and a tokenizer with few whole words."""
    root = tmp_path_factory.mktemp("made")
    generator = np.random.RandomState(5)
    texts = [
        "".join(SENTENCES[place] for place in generator.randint(0, 4, generator.randint(1, 12)))
        for _ in range(60)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" he she him her his said the "] * 99, trainer)
    (root / "corpus").mkdir()
    records = [{"text": text, "meta": {"pile_set_name": f"s{n % 3}"}} for n, text in enumerate(texts)]
    (root / "corpus/a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (root / "tokenizer.json").write_text(tokenizer.to_str())
    tokenize([root / "corpus"], root / "tokens", tokenizer=str(root / "tokenizer.json"), workers=1)
    total = TokenDataset.open(root / "tokens").n_tokens
    make_order(root / "tokens", seq_length=32, batch_size=4, steps=2 * total // 32 // 4)
    return root / "tokens"


def batches(viewer: BatchViewer) -> np.ndarray:
    return np.stack(list(viewer.batches(0, viewer.steps)))


def check_traces(viewer: BatchViewer, parent: BatchViewer, steps: range) -> None:
    """Every piece that ``trace`` names has the tokens of its document; address and source are known."""
    for step in steps:
        for row in range(viewer.batch_size):
            tokens = viewer.sequence(step, row)
            pieces = viewer.trace(step, row).to_pylist()
            assert [p["position"] for p in pieces] == [0, *np.cumsum([p["n_tokens"] for p in pieces])[:-1]]
            assert sum(p["n_tokens"] for p in pieces) == len(tokens)
            for p in pieces:
                if p["document"] < parent.dataset.n_sequences:
                    own = parent.dataset.sequence(p["document"])[p["offset"] : p["offset"] + p["n_tokens"]]
                    assert np.array_equal(tokens[p["position"] :][: p["n_tokens"]], own)
                assert p["shard"] is not None


def test_one_token_is_swapped_for_one_in_the_range_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("# a comment\n he\t she\n\n the\t his\n")
    parent = BatchViewer.open(data)
    stop = parent.steps - 2
    change = intervene(
        data, tmp_path / "o", Intervention(swap=str(tmp_path / "table.tsv")), from_step=3, to_step=stop
    )
    assert (change.swaps, change.words, change.samples) == (2, 0, 0)
    viewer = BatchViewer.open(tmp_path / "o")
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    ids = {word: tokenizer.encode(word).ids[0] for word in (" he", " she", " the", " his")}
    expected = batches(parent)
    inner = expected[3:stop]
    old = inner.copy()
    inner[old == ids[" he"]] = ids[" she"]
    inner[old == ids[" the"]] = ids[" his"]
    assert (old != inner).any()
    assert np.array_equal(batches(viewer), expected)
    same = [step for step in range(parent.steps) if viewer.step_digest(step) == parent.step_digest(step)]
    assert {*range(3), *range(stop, parent.steps)} <= set(same)
    assert viewer.identity != parent.identity
    assert np.array_equal(pickle.loads(pickle.dumps(viewer)).batch(4), viewer.batch(4))
    assert viewer.trace(4, 1).equals(parent.trace(4, 1))
    assert not list((tmp_path / "o").glob("*.bin"))
    half = BatchViewer.open(tmp_path / "o", batch_size=2)
    assert np.array_equal(half.batch(9), viewer.batch(4)[2:])


def test_words_of_several_tokens_are_listed_and_swapped_in_the_text(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"' himself' → ' herself'.*--allow-length-change"):
        intervene(data, tmp_path / "o", Intervention(swap="pronouns"), from_step=2)
    assert not (tmp_path / "o").exists()
    change = intervene(
        data, tmp_path / "o", Intervention(swap="pronouns", allow_length_change=True), from_step=2
    )
    parent, viewer = BatchViewer.open(data), BatchViewer.open(tmp_path / "o")
    assert change.samples > 10
    assert np.array_equal(batches(viewer)[:2], batches(parent)[:2])
    plain = Tokenizer.from_file(str(data / "tokenizer.json"))
    different = 0
    for step in range(2, viewer.steps):
        for row in range(viewer.batch_size):
            old, new = parent.text(step, row), viewer.text(step, row)
            words = set(new.replace(";", " ").replace(".", " ").split()[1:-1])
            assert not words & {"he", "him", "himself", "his", "He"}
            if "heuristic" in old and len(new) >= len(old):
                assert "heuristic" in new or "heuri" in new[-12:]
            assert "the she" not in new  # a piece that ends in "the he|uristic"
            different += old != new
            if old == new:
                assert np.array_equal(parent.sequence(step, row), viewer.sequence(step, row))
            assert len(viewer.sequence(step, row)) == 33
    assert different == change.samples
    pieces = [p for step in range(2, 6) for row in range(4) for p in viewer.trace(step, row).to_pylist()]
    added = [p for p in pieces if p["document"] >= parent.dataset.n_sequences]
    assert added
    assert all(p["shard"] == "a.jsonl" and p["source"] in {"s0", "s1", "s2"} for p in added)
    assert plain.get_vocab_size() >= batches(viewer).max()
    everything = Intervention(drop=["source:s0", "source:s1"])
    with pytest.raises(ParameterError, match="has swapped words that are not one token"):
        intervene(tmp_path / "o", tmp_path / "p", everything, from_step=2)


def test_dropped_documents_are_not_shown_in_the_range(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    pq.write_table(pa.table({"document": pa.array([7, 8], pa.int32())}), tmp_path / "list.parquet")
    intervention = Intervention(drop=["3,4", str(tmp_path / "list.parquet"), "source:s1"])
    change = intervene(data, tmp_path / "o", intervention, from_step=1, to_step=parent.steps - 1)
    viewer = BatchViewer.open(tmp_path / "o")
    gone = {3, 4, 7, 8, *(n for n in range(60) if n % 3 == 1)}
    changed = 0
    for step in range(viewer.steps):
        for row in range(4):
            before = {p["document"] for p in parent.trace(step, row).to_pylist()}
            shown = {p["document"] for p in viewer.trace(step, row).to_pylist()}
            if not 1 <= step < viewer.steps - 1 or not before & gone:
                assert np.array_equal(viewer.sequence(step, row), parent.sequence(step, row))
            else:
                assert not shown & gone
                changed += 1
    assert changed == change.samples
    check_traces(viewer, parent, range(viewer.steps))


def test_numbers_are_numbers_however_many_and_files_are_files(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ",".join(map(str, [3, *range(60, 160)] * 3))
    with pytest.raises(OutOfRangeError, match="no document 60; there are 60"):
        intervene(data, tmp_path / "o", Intervention(drop=[every]), from_step=0)
    assert intervene(data, tmp_path / "o", Intervention(drop=["3," * 200 + "4"]), from_step=0).samples
    # A file that happens to be called as a number has no part in it.
    monkeypatch.chdir(tmp_path)
    replace = Intervention(replace=[("10", "11")])
    intervene(data, tmp_path / "p", replace, from_step=0)
    (tmp_path / "11").write_text("no document")
    assert intervene(data, tmp_path / "p", replace, from_step=0).existed
    pq.write_table(pa.table({"document": pa.array([10], pa.uint64())}), tmp_path / "ten.parquet")
    by_file = Intervention(replace=[(str(tmp_path / "ten.parquet"), "11")])
    intervene(data, tmp_path / "q", by_file, from_step=0)
    assert (tmp_path / "q/pieces.npy").read_bytes() == (tmp_path / "p/pieces.npy").read_bytes()


@pytest.mark.slow
def test_documents_are_replaced(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    # Called like a shard of the corpus, of which it is no row all the same.
    (tmp_path / "a.jsonl").write_text("the dog heard nothing")
    intervention = Intervention(replace=[("10", "11"), ("12,13", str(tmp_path / "a.jsonl"))])
    intervene(data, tmp_path / "o", intervention, from_step=0)
    viewer = BatchViewer.open(tmp_path / "o")
    shown = [p for s in range(viewer.steps) for r in range(4) for p in viewer.trace(s, r).to_pylist()]
    assert not {p["document"] for p in shown} & {10, 12, 13}
    added = [p for p in shown if p["document"] >= 60]
    assert {(p["shard"], p["shard_row"]) for p in added} == {("a.jsonl", None)}
    text = "".join(viewer.text(s, r) for s in range(viewer.steps) for r in range(4))
    assert "the dog heard nothing<|endoftext|>" in text
    check_traces(viewer, parent, range(viewer.steps))
    # It is of no shard that was tokenized, and leads no further back.
    place = viewer.seen(added[0]["document"]).to_pylist()[0]
    row = place["step"], place["row"]
    pieces = trace_pieces(viewer.stream.parts, viewer.trace(*row), viewer.sequence(*row))
    assert {bool(piece.addresses) for piece in pieces if piece.document == added[0]["document"]} == {False}
    assert {bool(piece.addresses) for piece in pieces if (piece.document or 0) < 60} <= {True}
    fetch_steps(viewer, row[0], row[0] + 1, tmp_path / "steps")
    assert BatchViewer.open(tmp_path / "steps").trace(*row) == viewer.trace(*row)
    with pytest.raises(PileToolsError, match="was made by an overlay and is no text of the corpus"):
        trace_pieces(viewer.stream.parts, viewer.trace(*row), viewer.sequence(*row), context=3)


def test_moved_documents_change_places_with_what_was_there(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    sizes = np.array([len(parent.dataset.sequence(n)) for n in range(60)])
    document = int(sizes.argmin())
    change = intervene(data, tmp_path / "o", Intervention(move=[(str(document), 6)]), from_step=0)
    viewer = BatchViewer.open(tmp_path / "o")
    places = {
        s
        for s in range(viewer.steps)
        for r in range(4)
        if document in viewer.trace(s, r).column("document").to_pylist()
    }
    assert places == {6}
    assert change.samples >= 2
    assert change.repeated == change.cut == 0
    assert np.load(tmp_path / "o/documents.npy").tolist() == [document]
    assert Counter(batches(viewer).ravel().tolist()) == Counter(batches(parent).ravel().tolist())
    check_traces(viewer, parent, range(viewer.steps))
    with pytest.raises(OutOfRangeError, match="inside of the range"):
        intervene(data, tmp_path / "p", Intervention(move=[("3", 2)]), from_step=3)


def test_overlays_on_overlays(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text(" he\t she\n")
    (tmp_path / "new.txt").write_text("when he said he saw")
    swap = Intervention(swap=str(tmp_path / "table.tsv"))
    replace = Intervention(replace=[("20", str(tmp_path / "new.txt"))])
    intervene(data, tmp_path / "swapped", swap, from_step=2)
    intervene(tmp_path / "swapped", tmp_path / "both", replace, from_step=0)
    intervene(data, tmp_path / "replaced", replace, from_step=0)
    intervene(tmp_path / "replaced", tmp_path / "other", swap, from_step=2)
    both, other = BatchViewer.open(tmp_path / "both"), BatchViewer.open(tmp_path / "other")
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    he, she = (tokenizer.encode(word).ids[0] for word in (" he", " she"))
    expected = batches(BatchViewer.open(tmp_path / "replaced"))
    expected[2:][expected[2:] == he] = she
    assert np.array_equal(batches(other), expected)
    # The text that was given is shown as it was given where it came after the swap.
    new = np.array(tokenizer.encode("when he said he saw").ids)
    swapped = np.where(new == he, she, new)
    flat = batches(both)[2:].reshape(-1, 33)
    windows = {tuple(row[i : i + len(new)]) for row in flat for i in range(33 - len(new))}
    assert tuple(new) in windows
    assert tuple(swapped) not in windows
    assert Manifest.read(tmp_path / "both").parents[0] == BatchViewer.open(tmp_path / "swapped").identity


def packed_documents(data: Path) -> list[set[int]]:
    """The documents of each sample of the packing."""
    packing = open_location(data, None, "mmap", None).components[0]
    pieces = packing.packed_pieces(np.arange(packing.n_samples))
    return [set(pieces.document[pieces.row == row].tolist()) for row in range(packing.n_samples)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    place=st.integers(0, 660),
    gap=st.integers(2, 12),
    starts=st.tuples(st.integers(0, 150), st.integers(0, 10)),
    move=st.booleans(),
)
@pytest.mark.slow
def test_what_an_overlay_dropped_stays_dropped_above_it(
    data: Path, place: int, gap: int, starts: tuple[int, int], move: bool
) -> None:
    """Samples are filled from the base's packing, which still has the documents: refused, or not shown."""
    shown = packed_documents(data)
    upper = {max(shown[place])}
    # The first other document that follows, after a gap.
    lower = next({max(found)} for found in shown[place + gap :] + shown if max(found) not in upper)
    names = [",".join(map(str, sorted(documents))) for documents in (lower, upper)]
    above = Intervention(move=[(names[1], 10)]) if move else Intervention(drop=[names[1]])
    with TemporaryDirectory() as made:
        one, two = Path(made, "one"), Path(made, "two")
        try:
            intervene(data, one, Intervention(drop=[names[0]]), from_step=starts[0])
            intervene(one, two, above, from_step=starts[1])
        except ParameterError as error:
            refusals = r"packed anew by|which the overlay .* has changed there|none of the|do not fit"
            if re.search(refusals, str(error)):
                return
            raise
        steps = BatchViewer.open(two).seen(documents=sorted(lower)).column("step").to_pylist()
        assert all(step < starts[0] for step in steps)


def test_what_an_overlay_below_took_out_fills_no_sample(data: Path, tmp_path: Path) -> None:
    shown = packed_documents(data)
    # A sample of one document alone: without it, the whole sample is what follows it.
    place = next(n for n in range(9, 99) if len(shown[n]) == 1 and not shown[n] & shown[n + 2])
    [gone] = shown[place]
    after = next(shown[n] - {gone} for n in range(place, 99) if shown[n] != {gone})
    drop = Intervention(drop=[",".join(map(str, after))])
    intervene(data, tmp_path / "dropped", drop, from_step=0)
    assert np.load(tmp_path / "dropped/documents.npy").tolist() == sorted(after)
    with pytest.raises(ParameterError, match="change all documents in one overlay"):
        intervene(tmp_path / "dropped", tmp_path / "o", Intervention(drop=[str(gone)]), from_step=0)
    assert not (tmp_path / "o").exists()


def test_text_is_not_changed_on_top_of_words_of_several_tokens(data: Path, tmp_path: Path) -> None:
    words = Intervention(swap="pronouns", allow_length_change=True)
    intervene(data, tmp_path / "words", words, from_step=4, to_step=6)
    (tmp_path / "table.tsv").write_text(" bread\t milk\n")
    other = Intervention(swap=str(tmp_path / "table.tsv"), allow_length_change=True)
    for intervention in (Intervention(drop=["1,2,3,4,5,6"]), other):
        with pytest.raises(ParameterError, match="has swapped words that are not one token in steps 5:6; "):
            intervene(tmp_path / "words", tmp_path / "o", intervention, from_step=5)
        intervene(tmp_path / "words", tmp_path / f"o{len(intervention.drop)}", intervention, from_step=6)
    (tmp_path / "table.tsv").write_text(" nowhere\t somewhere\n")
    with pytest.raises(ParameterError, match="none of the words is in these steps"):
        intervene(data, tmp_path / "o", other, from_step=5)
    # Text that is re-tokenised above an overlay is filled by the same rule, whatever document it came from.
    intervene(data, tmp_path / "dropped", Intervention(drop=["source:s0"]), from_step=0)
    with pytest.raises(ParameterError, match=r"packed anew by|would be filled with document"):
        intervene(tmp_path / "dropped", tmp_path / "o", words, from_step=0)


def test_a_sequential_stream_without_documents(data: Path, tmp_path: Path) -> None:
    from pile_tools.formats.mmidx import write_index

    parent = batches(BatchViewer.open(data))
    directory = tmp_path / "shuffled"
    directory.mkdir()
    flat = parent.reshape(-1, 33)
    (directory / "document.bin").write_bytes(flat.tobytes())
    write_index(directory / "document.idx", flat.dtype, np.full(len(flat), 33))
    shutil.copy(data / "tokenizer.json", directory)
    make_order(directory, seq_length=32, batch_size=4, steps=len(flat) // 4, recipe="sequential")
    swap = Intervention(swap="pronouns", allow_length_change=True)
    change = intervene(directory, tmp_path / "o", swap, from_step=2)
    viewer = BatchViewer.open(tmp_path / "o")
    assert np.array_equal(viewer.batch(1), parent[1])
    assert change.samples > 0
    assert viewer.trace(3, 0).column("document").null_count == 1
    with pytest.raises(ParameterError, match="boundaries of documents are not known"):
        intervene(directory, tmp_path / "p", Intervention(drop=["3"]), from_step=2)


def test_bad_input_is_named(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    wide = pa.table({"document": pa.array([1, 2**64 - 1], pa.uint64())})
    pq.write_table(wide, tmp_path / "wide.parquet")
    cases: list[tuple[Intervention, type[PileToolsError], str]] = [
        (Intervention(), ParameterError, "nothing to change"),
        (Intervention(drop=["1", "60"]), OutOfRangeError, "no document 60; there are 60"),
        (Intervention(drop=["source:nope"]), ParameterError, "no source 'nope'; there are s0, s1, s2"),
        (Intervention(drop=["9" * 23]), OutOfRangeError, f"no document {'9' * 23}; there are 60"),
        (Intervention(drop=["9" * 5000]), OutOfRangeError, "no document 9{50}…; there are 60"),
        (Intervention(replace=[("3", "9" * 20)]), OutOfRangeError, "no document 9{20}; there are 60"),
        (Intervention(drop=[str(tmp_path / "wide.parquet")]), OutOfRangeError, f"no document {2**64 - 1};"),
        (Intervention(drop=["some"]), ParameterError, "'some' names no documents"),
        (Intervention(drop=[str(tmp_path / "x.parquet")]), PileToolsError, "no such file"),
        (Intervention(drop=["4"], replace=[("4", "5")]), ParameterError, "document 4 is changed twice"),
        (Intervention(swap="nothing.tsv"), PileToolsError, "the bundled table is called 'pronouns'"),
    ]
    for intervention, error, message in cases:
        with pytest.raises(error, match=message):
            intervene(data, out, intervention, from_step=0)
    tables = {
        " he\t she\n she\t he\n": "a cycle: ' he' → ' she' → ' he'",
        " he\t she\n he\t her\n": "' he' is swapped twice",
        "he she\n": "line 1 is not two words with a tab",
        "# none\n": "no pair of words",
    }
    for content, message in tables.items():
        (tmp_path / "t.tsv").write_text(content)
        with pytest.raises((ParameterError, DataError), match=message):
            intervene(data, out, Intervention(swap=str(tmp_path / "t.tsv")), from_step=0)
    for start, stop in ((5, 5), (5, 10_000), (-1, 4)):
        with pytest.raises(OutOfRangeError, match="which has steps 0:"):
            intervene(data, out, Intervention(drop=["1"]), from_step=start, to_step=stop)
    assert not out.exists()


def test_an_overlay_knows_its_parent_and_itself(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "a/tokens")
    place = tmp_path / "a/o"
    one = intervene(tmp_path / "a/tokens", place, Intervention(drop=["1"]), from_step=0)
    again = intervene(tmp_path / "a/tokens", place, Intervention(drop=["1"]), from_step=0)
    assert again == dataclasses.replace(one, existed=True)
    with pytest.raises(PileToolsError, match="finished by a different job"):
        intervene(tmp_path / "a/tokens", place, Intervention(drop=["2"]), from_step=0)
    content = batches(BatchViewer.open(place))
    (tmp_path / "a").rename(tmp_path / "b")
    place = tmp_path / "b/o"
    assert np.array_equal(batches(BatchViewer.open(place)), content)
    pieces = (place / "pieces.npy").read_bytes()
    (place / "pieces.npy").write_bytes(pieces[:-8] + b"\1" + b"\0" * 7)
    with pytest.raises(DataError, match="contradict each other"):
        BatchViewer.open(place)
    (place / "pieces.npy").write_bytes(pieces)
    record = (place / "overlay.json").read_text()
    (place / "overlay.json").write_text(record.replace('"batch_size": 4', '"batch_size":  4'))
    with pytest.raises(DataError, match="edited by hand or damaged"):
        BatchViewer.open(place)
    (place / "overlay.json").write_text(record)
    manifest = (place / "manifest.json").read_bytes()
    (place / "manifest.json").unlink()
    with pytest.raises(UnfinishedError, match="run `pile-tools intervene` again"):
        BatchViewer.open(place)
    (place / "manifest.json").write_bytes(manifest)
    shutil.rmtree(tmp_path / "b/tokens")
    with pytest.raises(PileToolsError, match="no such file"):
        BatchViewer.open(place)
    shutil.copytree(data, tmp_path / "b/tokens")
    with (tmp_path / "b/tokens/document.bin").open("r+b") as file:
        file.write(b"\7\0")
    with pytest.raises(DataError, match=r"another token dataset|a change of the stream"):
        BatchViewer.open(place)


@pytest.mark.slow
def test_what_is_asked_of_an_overlay(data: Path, tmp_path: Path) -> None:
    """Occurrences and finds are those that a reading of every sequence gives."""
    (tmp_path / "table.tsv").write_text(" he\t she\n")
    intervention = Intervention(swap=str(tmp_path / "table.tsv"), drop=["5"], replace=[("9", "17")])
    intervene(data, tmp_path / "o", intervention, from_step=3)
    parent, viewer = BatchViewer.open(data), BatchViewer.open(tmp_path / "o")
    names = ("document", "step", "row", "position", "offset", "n_tokens")
    wanted = [5, 9, 17, 30]
    read = [
        tuple((piece | {"step": s, "row": r})[name] for name in names)
        for s in range(viewer.steps)
        for r in range(4)
        for piece in viewer.trace(s, r).to_pylist()
        if piece["document"] in wanted
    ]
    found = viewer.seen(documents=wanted).to_pylist()
    assert sorted(tuple(row[name] for name in names) for row in found) == sorted(read)
    assert {row["document"] for row in found if row["step"] >= 3} == {17, 30}
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    he, she = (tokenizer.encode(word).ids[0] for word in (" he", " she"))
    for token in (he, she):
        places = np.argwhere(batches(viewer) == token).tolist()
        hits = viewer.find(tokens=[token]).to_pylist()
        assert [[hit["step"], hit["row"], hit["position"]] for hit in hits] == places
    with pytest.raises(PileToolsError, match="an overlay that packs"):
        viewer.repeats()
    mixture = [row for row in viewer.mixture(every=5).to_pylist() if row["tokens"]]
    read_tokens: Counter[tuple[int, str]] = Counter()
    for step in range(viewer.steps):
        for row in range(4):
            for piece in viewer.trace(step, row).to_pylist():
                inputs = min(piece["n_tokens"], 32 - piece["position"])
                read_tokens[min(step // 5 * 5 + 5, viewer.steps), piece["source"]] += inputs
    assert {(row["checkpoint"], row["source"]): row["tokens"] for row in mixture} == read_tokens
    intervene(data, tmp_path / "p", Intervention(swap=str(tmp_path / "table.tsv")), from_step=3)
    swapped = BatchViewer.open(tmp_path / "p")
    assert swapped.repeats(every=5).equals(parent.repeats(every=5))
    assert swapped.mixture(every=5).equals(parent.mixture(every=5))
    for whole, name in ((viewer, "of o"), (swapped, "of p")):
        fetch_steps(whole, 0, whole.steps, tmp_path / name)
        fetched = BatchViewer.open(tmp_path / name)
        assert [fetched.trace(s, r) for s in range(9) for r in range(4)] == [
            whole.trace(s, r) for s in range(9) for r in range(4)
        ]
        everything = range(whole.stream.parts[0].n_documents or 0)
        assert fetched.seen(documents=everything) == whole.seen(documents=everything)
        assert fetched.find(tokens=[he]) == whole.find(tokens=[he])
        assert fetched.mixture(every=5).to_pylist() == whole.mixture(every=5).to_pylist()
    fetch_steps(viewer, 0, 2, tmp_path / "before")  # these steps are as they were, and not what the rest is
    for name in ("of o", "before"):
        with pytest.raises(PileToolsError, match="fetched from an overlay that packs samples anew"):
            BatchViewer.open(tmp_path / name).repeats()
    assert BatchViewer.open(tmp_path / "of p").repeats(every=5) == parent.repeats(every=5)


def test_every_command_reads_an_overlay(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Digests, exports, searches, counts, differences and training are those of the bytes that it shows."""
    out = tmp_path / "o"
    parent = BatchViewer.open(data)
    dropped = set(parent.trace(4, 0).column("document").to_pylist())
    intervene(data, out, Intervention(drop=[",".join(map(str, dropped))]), from_step=3, to_step=9)
    viewer = BatchViewer.open(out)
    changed = [s for s in range(viewer.steps) if not np.array_equal(viewer.batch(s), parent.batch(s))]
    assert changed
    assert set(changed) <= set(range(3, 9))

    def told(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
        return dict(json.loads(capsys.readouterr().out))

    root = told("digest", out)["root"]
    assert root == hashlib.sha256(b"".join(xxh3_128_digest(b.tobytes()) for b in batches(viewer))).hexdigest()
    assert told("digest", data, "-o", tmp_path / "digests")["root"] != root
    assert run(["verify", str(out)]) == 0
    difference = told("diff", data, out)
    assert difference["differing_steps"] == changed
    assert dropped & {row["document"] for row in difference["documents"] if row["stream"] == "a"}
    assert not dropped & {row["document"] for row in difference["documents"] if row["stream"] == "b"}
    told("export", "--data", out, "--steps", "2:10", "--format", "npy", "-o", tmp_path / "x.npy")
    exported = np.load(tmp_path / "x.npy")
    assert np.array_equal(exported.reshape(8, 4, 33), batches(viewer)[2:10])
    told("export", "--data", out, "--format", "mmidx", "-o", tmp_path / "copy")
    assert np.array_equal(batches(BatchViewer.open(tmp_path / "copy", batch_size=4)), batches(viewer))
    (tmp_path / "terms").write_text("bread\n")
    [count] = told("terms", "--data", out, "--terms", tmp_path / "terms")["counts"]
    texts = [viewer.text(s, r) for s in range(viewer.steps) for r in range(4)]
    assert count["count"] == sum(len(re.findall(r"\bbread\b", text)) for text in texts)
    config = {"model_type": "gpt_neox", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config |= {"intermediate_size": 16, "vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(config))
    fit = ["train", "--data", out, "--model", tmp_path / "config.json", "--lr", 0.01, "--steps", 10]
    told(*fit, "--device", "cpu", "--schedule", "3", "-o", tmp_path / "run")
    assert told("verify", tmp_path / "run/step10", "--data", out)
    assert told("verify", tmp_path / "run/step3", "--data", data)
    assert run(["verify", str(tmp_path / "run/step10"), "--data", str(data)]) == 3
    assert f"step {changed[0]}" in capsys.readouterr().err
    assert run(["repeats", "--data", str(out)]) == 1
    assert "an overlay that packs" in capsys.readouterr().err


def test_blends_have_no_overlays(data: Path, tmp_path: Path) -> None:
    make_blend([data, data], ["1", "2"], tmp_path / "blend", seq_length=32, batch_size=4, steps=5)
    with pytest.raises(ParameterError, match="a blend; intervene in the stream of one of its datasets"):
        intervene(tmp_path / "blend", tmp_path / "o", Intervention(drop=["1"]), from_step=0)
    assert not (tmp_path / "o").exists()
