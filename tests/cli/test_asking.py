"""The questions to a stream, as they are spelled on the command line."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run
from tokenizers import Tokenizer

from pile_tools import BatchViewer
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.demo import TOKENIZER_NAME
from pile_tools.stages.order import make_order
from pile_tools.stages.tokenize import tokenize
from tests.hub_server import running_hub, use_as_hub
from tests.viewer.test_opening import publish

STEPS = 12
PHRASE = "raise ValueError"
SHAPE = ["--seq-length", "256", "--batch-size", "8", "--steps", "6"]


@pytest.fixture(scope="module")
def root(demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in its order, and streams made of it: an overlay, a blend, its pre-shuffled form."""
    root = tmp_path_factory.mktemp("asking")
    corpus = root / "corpus"
    corpus.mkdir()
    for shard in sorted(demo_corpus.glob("*-0[12].jsonl.zst")):
        (corpus / shard.name).write_bytes(shard.read_bytes())
    (root / TOKENIZER_NAME).write_bytes((demo_corpus / TOKENIZER_NAME).read_bytes())
    tokenize([corpus], root / "tokens", tokenizer=str(root / TOKENIZER_NAME), workers=1)
    make_order(root / "tokens", seq_length=256, batch_size=8, steps=STEPS, seed=3)
    viewer = BatchViewer.open(root / "tokens")
    dropped = ",".join(str(viewer.trace(step, 1).column("document")[0]) for step in (6, 9))
    for arguments in (
        ["digest", "tokens"],
        ["intervene", "--data", "tokens", "--from-step", "5", "--drop", dropped, "-o", "overlay"],
        ["export", "--data", "tokens", "--format", "mmidx", "-o", "shuffled"],
        ["fetch", "--data", "tokens", "--steps", "2:4", "-o", "fetched"],
        ["order", *("--data", "tokens", "--weight", "0.5") * 2, "-o", "blend", *SHAPE],
    ):
        names = {"tokens", "overlay", "shuffled", "fetched", "blend"}
        assert run([str(root / word) if word in names else word for word in arguments]) == 0, arguments
    return root


@pytest.fixture
def data(root: Path) -> str:
    return str(root / "tokens")


class Ask:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def json(self, *arguments: object) -> Any:
        self._capsys.readouterr()
        assert run([*map(str, arguments), "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def text(self, *arguments: object) -> str:
        self._capsys.readouterr()
        assert run(list(map(str, arguments))) == 0
        return self._capsys.readouterr().out

    def error(self, code: int, *arguments: object) -> str:
        """The one line on standard error, of a command that ends with ``code``."""
        self._capsys.readouterr()
        assert run(list(map(str, arguments))) == code
        out, err = self._capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    return Ask(capsys)


def texts(place: Path | str) -> Iterator[tuple[int, int, str]]:
    viewer = BatchViewer.open(place)
    for step in range(viewer.first_step, viewer.steps):
        for row in range(viewer.batch_size):
            yield step, row, viewer.text(step, row)


def occurrences(place: Path | str, phrase: str) -> list[tuple[int, int]]:
    return [(step, row) for step, row, text in texts(place) for _ in range(text.count(phrase))]


FORMS = ("tokens", "overlay", "blend", "shuffled", "fetched")


@pytest.mark.parametrize("form", FORMS)
def test_find_in_every_form_of_a_stream(form: str, root: Path, ask: Ask) -> None:
    place = root / form
    wanted = occurrences(place, PHRASE)
    found = ask.json("find", PHRASE, "--data", place)["occurrences"]
    assert [(row["step"], row["row"]) for row in found] == wanted
    assert all(row["match"] == PHRASE for row in found)
    first = ask.json("find", "--regex", r"raise \w+", "--data", place, "--first")["occurrences"]
    # Another Python's library may have none in so few steps.
    expected = [(step, row) for step, row, text in texts(place) if re.search(r"raise \w+", text)][:1]
    assert [(row["step"], row["row"]) for row in first] == expected
    viewer = BatchViewer.open(place)
    ids = viewer.sequence(viewer.first_step, 1)[5:8].tolist()
    found = ask.json("find", "--tokens", ",".join(map(str, ids)), "--data", place)["occurrences"]
    sequences = (
        (step, row, viewer.sequence(step, row).tolist())
        for step in range(viewer.first_step, viewer.steps)
        for row in range(viewer.batch_size)
    )
    assert [(row["step"], row["row"], row["position"]) for row in found] == [
        (step, row, at) for step, row, tokens in sequences for at in range(255) if tokens[at : at + 3] == ids
    ]


@pytest.mark.parametrize("form", FORMS)
def test_export_and_digest_in_every_form_of_a_stream(form: str, root: Path, ask: Ask, tmp_path: Path) -> None:
    place = root / form
    viewer = BatchViewer.open(place)
    first, last = viewer.first_step, viewer.steps
    batches = np.stack(list(viewer.batches(first, last)))
    export = ["export", "--data", place, "--steps", f"{first}:{last}"]
    ask.text(*export, "--format", "npy", "-o", tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), batches)
    ask.text(*export, "--format", "parquet", "--text", "-o", tmp_path / "a.parquet")
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["tokens"] for row in rows] == batches.reshape(-1, 257).tolist()
    assert [(row["step"], row["row"], row["text"]) for row in rows] == list(texts(place))
    ask.text(*export, "--format", "jsonl", "-o", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["tokens"] for line in lines] == [row["tokens"] for row in rows]
    assert [line["documents"] for line in lines] == [row["documents"] for row in rows]
    ask.text(*export, "--format", "mmidx", "-o", tmp_path / "mmidx")
    shuffled = BatchViewer.open(tmp_path / "mmidx")
    assert np.array_equal(np.stack(list(shuffled.batches(first, last))), batches)
    assert (tmp_path / "mmidx" / "document.bin").read_bytes() == batches.tobytes()
    # The same stream has the same digests, whichever form it is stored in.
    ask.text("digest", place)
    ask.text("digest", tmp_path / "mmidx")
    names = [next(where.glob("*digests.npy")) for where in (place, tmp_path / "mmidx")]
    digests = [np.load(name) for name in names]
    assert np.array_equal(*digests)
    assert digests[0][0].tobytes().hex() == viewer.digest(first)
    assert "as their digests have them" in ask.text("verify", place, "--steps", f"{first}:{last}")
    report = ask.json("diff", place, tmp_path / "mmidx")
    assert (report["by"], report["first_step"]) == ("digests", None)


def test_diff_of_an_overlay_by_digests(root: Path, ask: Ask) -> None:
    ask.text("digest", root / "overlay")
    found = ask.json("diff", root / "tokens", root / "overlay", "--limit", "2")
    one, two = (BatchViewer.open(root / name) for name in ("tokens", "overlay"))
    differing = [step for step in range(STEPS) if not np.array_equal(one.batch(step), two.batch(step))]
    assert found["by"] == "digests"
    assert found["differing_steps"] == differing
    assert found["first_step"] == differing[0] >= 5
    assert f"the first is step {differing[0]}" in ask.text("diff", root / "tokens", root / "overlay")


def test_what_differs_is_the_overlay_and_not_its_parent(root: Path, ask: Ask) -> None:
    error = ask.error(3, "verify", root / "overlay", "--digests", root / "tokens")
    assert error.startswith(f"pile-tools: {root / 'overlay'}/document_train_0_")
    assert "is the first that differs from its digest" in error
    verify = ["verify", root / "overlay", "--digests", root / "tokens", "--steps"]
    assert ask.error(1, *verify, "0:99").startswith(f"pile-tools: {root / 'overlay'}/document_train_0_")


def test_diff_of_what_is_no_stream(
    root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PILE_TOOLS_DATA", raising=False)
    message = "nope: no token dataset; if it is an order of one, name that dataset with --data"
    assert message in ask.error(1, "diff", root / "tokens", "nope")
    # Where the dataset is known it is its orders that lack the name.
    assert "no order 'nope'" in ask.error(2, "diff", root / "tokens", "nope", "--data", root / "tokens")
    monkeypatch.chdir(root / "tokens")
    assert "no order 'nope'" in ask.error(2, "diff", ".", "nope")
    assert ask.json("diff", ".", "train_0")["first_step"] is None


def test_a_step_that_was_changed(root: Path, ask: Ask, tmp_path: Path) -> None:
    ask.text("export", "--data", root / "tokens", "--format", "mmidx", "-o", tmp_path / "copy")
    ask.text("digest", tmp_path / "copy")
    # What was exported is still what its manifest lists.
    assert "digests: " in ask.text("verify", tmp_path / "copy")
    with (tmp_path / "copy" / "document.bin").open("r+b") as file:
        file.seek((7 * 8 * 257 + 100) * 2)
        file.write(b"\xff\xff")
    for steps in ("5:9", "7", ":"):
        error = ask.error(3, "verify", tmp_path / "copy", "--steps", steps)
        assert "step 7 is the first that differs from its digest" in error
    # The steps are what they were, but not all of the dataset is.
    assert "another token dataset" in ask.error(3, "verify", tmp_path / "copy", "--steps", "8:10")
    assert "document.bin: SHA-256" in ask.error(3, "verify", tmp_path / "copy")


def copied(place: Path, target: Path) -> Path:
    shutil.copytree(place, target)
    return target


@pytest.mark.parametrize("recorded", [True, False])
def test_a_step_that_was_changed_by_its_maps(root: Path, ask: Ask, tmp_path: Path, recorded: bool) -> None:
    changed = copied(root / "tokens", tmp_path / "changed")
    viewer = BatchViewer.open(root / "tokens")
    path = changed / f"{viewer.order.label}_shuffle_idx.npy"
    shuffle_idx = np.load(path)
    shuffle_idx[[3 * 8, 7 * 8]] = shuffle_idx[[7 * 8, 3 * 8]]
    np.save(path, shuffle_idx)
    if not recorded:  # as another tool's maps; the digests are the first order's in any case
        (changed / "order.json").unlink()
        for name in ("digests.npy", "digests.json"):
            (changed / name).rename(changed / f"{viewer.order.label}_{name}")
    message = "step 3 is the first that differs from its digest"
    assert message in ask.error(3, "verify", changed, "--steps", f"0:{STEPS}")
    assert "step 7 is the first that differs" in ask.error(3, "verify", changed, "--steps", f"4:{STEPS}")
    shape = [] if recorded else ["--batch-size", "8"]
    if recorded:  # maps that are not those of the record are no stream to compare with
        assert "shuffle_idx.npy: SHA-256" in ask.error(3, "diff", root / "tokens", changed)
        shape = ["--trust-files"]
    report = ask.json("diff", root / "tokens", changed, *shape)
    assert (report["by"], report["first_step"]) == ("tokens", 3)


def test_digests_of_several_orders_and_those_that_are_elsewhere(
    root: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copied(root / "tokens", tmp_path / "data")
    order = make_order(data, seq_length=256, batch_size=8, steps=3, seed=4).record.label
    ask.text("digest", data, "--order", order)
    message = ask.error(2, "verify", data, "--steps", "0:2")
    assert f"name one with --order: {BatchViewer.open(root / 'tokens').order.label}, {order}" in message
    assert order in ask.text("verify", data, "--steps", "0:2", "--order", order)
    assert "document_train_0_indexmap_96ns" in ask.text(
        "verify", data, "--steps", "5:12", "--order", f"{data}/order.json"
    )
    digests = tmp_path / "digests"
    ask.text("digest", root / "tokens", "--batch-size", "4", "-o", digests)
    assert "steps 2:24" in ask.text("verify", root / "tokens", "--digests", digests, "--steps", "2:24")
    # Their shape is that of the other order's steps, and not one of them is the same.
    message = "step 0 is the first that differs"
    assert message in ask.error(3, "verify", data, "--order", order, "--digests", digests)
    for form in ("shuffled", "fetched"):
        found = ask.text("verify", root / form, "--digests", root / "tokens")
        assert "as their digests have them" in found
        assert found.endswith("made of another storage of the stream\n")
    assert "no digests" in ask.error(1, "verify", data, "--digests", root)
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        bare = copied(root / "shuffled", tmp_path / "bare")
        for path in bare.glob("*digests*"):
            path.unlink()
        assert "--digests DIR compares" in ask.error(1, "verify", publish(hub, bare, "owner/bare"))
        url = publish(hub, root / "tokens")
        found = ask.text("verify", url, "--digests", root / "tokens")
        assert found.endswith("made of another storage of the stream\n")
        ask.text("digest", url, "-o", tmp_path / "there")
        assert "as their digests have them" in ask.text("verify", url, "--digests", tmp_path / "there")


def test_verify_of_an_order_that_is_elsewhere(data: str, ask: Ask, tmp_path: Path) -> None:
    place = tmp_path / "order"
    ask.text("order", data, *SHAPE, "--seed", "8", "-o", place)
    assert "(its dataset is not here)" in ask.text("verify", place)
    assert f"{place}: no digests; make them" in ask.error(1, "verify", data, "--order", place)
    ask.text("digest", "--data", data, "--order", place)
    for steps in ([], ["--steps", "0:6"]):
        found = ask.text("verify", data, "--order", place, *steps)
        assert found.splitlines()[-1].startswith(f"{data}: digests: document_train_0_indexmap_48ns_256sl_8s")
        assert "steps 0:6 as their digests have them" in found
    assert "digests of steps 0:6, root" in ask.text("verify", place)
    assert "name that in its place" in ask.error(1, "verify", place, "--steps", "0:2")


def test_answers_are_not_computed_for_a_place_that_cannot_hold_them(
    data: str, root: Path, ask: Ask, tmp_path: Path
) -> None:
    terms = tmp_path / "terms"
    terms.write_text("if\n")
    count = ["count", "--data", data, "--terms", terms]
    assert "no such directory" in ask.error(2, *count, "-o", tmp_path / "none" / "x.parquet")
    assert "not the name of a file of .parquet" in ask.error(2, *count, "-o", tmp_path / "x.csv")
    assert "not the name of a file of .png" in ask.error(2, "repeats", "--data", data, "--plot", "x.xyz")
    export = ["export", "--data", data, "--steps", "0:1", "--format"]
    before = (root / "tokens" / "document.bin").read_bytes()
    assert "exists already" in ask.error(1, *export, "npy", "-o", root / "tokens" / "document.bin")
    assert (root / "tokens" / "document.bin").read_bytes() == before
    assert "not the name of a file of format npy" in ask.error(
        2, *export, "npy", "-o", tmp_path / "x.parquet"
    )


def test_seen(root: Path, data: str, ask: Ask) -> None:
    viewer = BatchViewer.open(data)
    document = int(viewer.trace(3, 2).column("document")[0].as_py())
    wanted = []
    for step in range(STEPS):
        for row in range(8):
            for piece in viewer.trace(step, row).to_pylist():
                if piece["document"] == document:
                    wanted.append([step, row, piece["position"], piece["offset"], piece["n_tokens"]])
    report = ask.json("seen", "--data", data, "--document", document, "--world-size", "2")
    columns = ("step", "row", "position", "offset", "n_tokens")
    assert [[row[name] for name in columns] for row in report["occurrences"]] == wanted
    assert [row["rank"] for row in report["occurrences"]] == [row[1] // 4 for row in wanted]
    place = viewer.trace(3, 2).to_pylist()[0]
    again = ask.json("seen", "--data", data, "--shard", place["shard"], "--row", place["row"])
    assert [row["step"] for row in again["occurrences"]] == [row[0] for row in wanted]
    assert "epoch" in ask.text("seen", "--data", data, "--document", document)


@pytest.mark.slow
def test_counts_by_checkpoint(root: Path, data: str, ask: Ask, tmp_path: Path) -> None:
    steps = Counter(step for step, _ in occurrences(data, PHRASE))
    plot = tmp_path / "find.png"
    report = ask.json("find", PHRASE, "--data", data, "--count", "--every", "5", "--plot", plot)
    assert {row["checkpoint"]: row["count"] for row in report["counts"]} == {
        mark: sum(count for step, count in steps.items() if step < mark) for mark in (5, 10, 12)
    }
    terms = tmp_path / "terms.txt"
    terms.write_text("raise\nvalueerror\n")
    table = tmp_path / "counts.parquet"
    count = ["count", "--data", data, "--terms", terms, "--window", "5", "--every", "5"]
    ask.text(*count, "-o", table, "--plot", tmp_path / "count.png")
    rows = pq.read_table(table).to_pylist()
    assert ask.json(*count)["counts"] == rows
    alone = {(row["checkpoint"], row["term"]): row["count"] for row in rows if row["other"] is None}
    words = [(step, re.findall(r"\w+", text.lower())) for step, _, text in texts(data)]
    assert alone[12, "raise"] == sum(found.count("raise") for _, found in words)
    assert alone[5, "valueerror"] == sum(found.count("valueerror") for step, found in words if step < 5)
    assert {(row["term"], row["other"]) for row in rows} >= {("raise", None), ("raise", "valueerror")}
    for name in ("repeats", "mixture"):
        picture = tmp_path / f"{name}.png"
        report = ask.json(name, "--data", data, "--every", "5", "--plot", picture)
        assert max(row["checkpoint"] for row in report[name]) == STEPS
        assert str(STEPS) in ask.text(name, "--data", data)
    tokens = [row for row in ask.json("mixture", "--data", data)["mixture"] if row["checkpoint"] == STEPS]
    assert sum(row["tokens"] for row in tokens) == STEPS * 8 * 256
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["count.png", "find.png", "mixture.png", "repeats.png"]
    for name in pictures:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_behind_a_url(
    root: Path, data: str, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        url = publish(hub, root / "tokens")
        remote = ["--data", url, "--tokenizer", str(root / TOKENIZER_NAME)]
        local = ask.json("find", PHRASE, "--data", data)
        assert ask.json("find", PHRASE, *remote) == local
        assert ask.json("seen", "--document", 3, "--data", url) == ask.json(
            "seen", "--document", 3, "--data", data
        )
        for name in ("repeats", "mixture"):
            assert ask.json(name, "--data", url) == ask.json(name, "--data", data)
        ask.text("digest", url, "-o", tmp_path / "digests")
        assert np.array_equal(
            np.load(tmp_path / "digests" / "digests.npy"), np.load(root / "tokens" / "digests.npy")
        )
        ask.text("export", "--data", url, "--steps", "1:3", "--format", "npy", "-o", tmp_path / "a.npy")
        assert np.array_equal(np.load(tmp_path / "a.npy")[1], BatchViewer.open(data).batch(2))
        assert ask.json("diff", url, data)["first_step"] is None
        report = ask.json("order", data, "--like", url, "--seq-length", "128", "-o", tmp_path / "order")
        assert report["changes"]["seq_length"] == {"before": 256, "after": 128}
        kept, old = (next(place.glob("*_doc_idx.npy")) for place in (tmp_path / "order", root / "tokens"))
        assert kept.read_bytes() == old.read_bytes()


@pytest.mark.slow
def test_digests_behind_a_url(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = copied(root / "tokens", tmp_path / "changed")
    piece = BatchViewer.open(changed).trace(5, 0).to_pylist()[0]
    sizes = TokenDataset.open(changed).sizes.whole()
    with (changed / "document.bin").open("r+b") as file:
        file.seek(2 * (int(sizes[: piece["document"]].sum()) + piece["offset"]))
        file.write(b"\xff\xff")
    unnamed = copied(root / "tokens", tmp_path / "unnamed")
    record = BatchViewer.open(unnamed).record
    assert record is not None
    replace(record, digests=None).write(unnamed / "order.json")
    wrong = copied(root / "tokens", tmp_path / "wrong")
    replace(record, digests="0" * 64).write(wrong / "order.json")
    damaged = copied(root / "tokens", tmp_path / "damaged")
    np.save(damaged / "digests.npy", np.load(damaged / "digests.npy")[::-1].copy())
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        url = publish(hub, root / "tokens")
        # Two stores that are read apart: here and there, and there alone.
        for pair in ((url, root / "tokens"), (url, url)):
            report = ask.json("diff", *pair)
            assert (report["by"], report["first_step"], report["believed"]) == ("digests", None, [url])
            said = f"the same, by their digests (those of {url} were believed; `pile-tools verify URL`"
            assert said in ask.text("diff", *pair)
        assert hub.sent["document.bin"] == 0
        assert "steps 2:4 as their digests have them" in ask.text("verify", url, "--steps", "2:4")
        sent = hub.sent["document.bin"]
        assert sent > 0
        found = ask.json("verify", url, root / "tokens")["verified"]
        assert found[-1]["path"] == url
        assert f"steps 0:{STEPS} as their digests have them" in found[-1]["found"]
        assert len(found) > 2
        # Only what the record of the order names is believed unseen.
        there = publish(hub, unnamed, "owner/unnamed")
        report = ask.json("diff", there, url)
        assert (report["by"], report["believed"]) == ("tokens", [])
        assert "as their digests have them" in ask.text("verify", there)
        for place, message in (
            (wrong, "digests whose root is not the one in the record of the order"),
            (damaged, "digests.npy: not the digests whose root is in digests.json"),
            (changed, "is the first that differs from its digest"),
        ):
            there = publish(hub, place, f"owner/{place.name}")
            assert message in ask.error(3, "verify", there)
            if place != changed:
                assert ask.json("diff", there, url)["by"] == "tokens"


def test_digests_of_an_order_here_over_tokens_behind_a_url(
    data: str, root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        url = publish(hub, root / "tokens")
        # Made of one, they serve for the other, and are made again for neither.
        for places in ((data, url), (url, data)):
            order = tmp_path / f"of {hub.sent['document.bin']}"
            ask.text("order", data, *SHAPE, "-o", order)
            made = [ask.json("digest", "--data", place, "--order", order) for place in places]
            assert made[0] == made[1] | {"existed": False}
            for place in places:
                assert "steps 0:6 as" in ask.text("verify", place, "--order", order, "--steps", ":")
            found = ask.json("diff", data, url, "--order-a", order, "--order-b", order)
            assert (found["by"], found["first_step"]) == ("digests", None)
        # Of tokens that are not looked at, digests that the order does not name are not believed.
        record = BatchViewer.open(data, order=order).record
        assert record is not None
        replace(record, digests=None).write(order / "order.json")
        assert ask.json("diff", data, url, "--order-a", order, "--order-b", order)["by"] == "tokens"
        changed = copied(root / "tokens", tmp_path / "changed")
        content = (changed / "document.bin").read_bytes()
        (changed / "document.bin").write_bytes(b"\xff\xff" * (len(content) // 2))
        there = publish(hub, changed, "owner/changed")
        assert "step 0 is the first" in ask.error(3, "verify", there, "--order", order, "--steps", ":")
        assert "digests of another stream" in ask.error(3, "digest", there, "--order", order)


def test_the_same_documents_under_another_tokenizer(root: Path, ask: Ask, tmp_path: Path) -> None:
    # Merges of half of the vocabulary only: other tokens of the same texts.
    value = json.loads(Tokenizer.from_file(str(root / TOKENIZER_NAME)).to_str())
    kept = 1000
    value["model"]["merges"] = value["model"]["merges"][: kept - 257]
    value["model"]["vocab"] = {
        token: number for token, number in value["model"]["vocab"].items() if number < kept
    }
    (tmp_path / "other.json").write_text(json.dumps(value))
    other = tmp_path / "other"
    tokenize([root / "corpus"], other, tokenizer=str(tmp_path / "other.json"), workers=1)
    report = ask.json("order", other, "--like", root / "tokens")
    assert report["changes"]["tokens"]["before"] == TokenDataset.open(root / "tokens").n_tokens
    assert report["changes"]["tokens"]["after"] == TokenDataset.open(other).n_tokens
    assert report["changes"]["steps"] == {"before": STEPS, "after": report["steps"]}
    assert report["steps"] > STEPS
    assert report["like"]["label"] == BatchViewer.open(root / "tokens").order.label
    out = ask.text("order", other, "--like", root / "tokens")
    assert "there already" in out
    assert re.search(r"samples in order +[\d,]+ +[\d,]+\n", out)
    assert "as the recipe neox makes it with seed 3" in ask.text("verify", other)
    assert report["like"]["record"] in ask.json("lineage", other)["chain"][0]["parents"]
    ask.json("find", PHRASE, "--data", other, "--first")
    for options, message in (
        (["--seed", "4"], "--seed has no effect here: --like keeps that of the other order"),
        (["--split", "8,1,1"], "--split has no effect here"),
        (["--suite", "pythia-deduped"], "--suite has no effect here: --like is of one dataset"),
    ):
        assert message in ask.error(2, "order", other, "--like", root / "tokens", *options)
    assert "a blend of several" in ask.error(2, "order", other, "--like", root / "blend")
    assert "an overlay" in ask.error(2, "order", other, "--like", root / "overlay")
    assert "give both" in ask.error(2, "order", other, "--like-order", "train_0", "--steps", "1")
    (other / "documents.parquet").unlink()
    error = ask.error(3, "order", other, "--like", root / "tokens", "--name", "second")
    assert "missing, so it is not known which documents these are" in error


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, ["find", ""], "a text of 0 bytes; give one of 1 to"),
        (2, ["find", "x" * 20_000], "a text of 20000 bytes"),
        (2, ["find", "--tokens", ""], "not token ids such as 1,2,3"),
        (2, ["find", "--tokens", "1,x"], "not token ids such as 1,2,3"),
        (2, ["find", "--tokens", ",".join(["1"] * 300)], "longer than a sequence of 257"),
        (2, ["find", "--tokens", "70000"], "token 70000 does not fit uint16"),
        (2, ["find", "--regex", "("], "regular expression '('"),
        (2, ["find", "--regex", "a*"], "matches the empty text"),
        (2, ["find", "a", "--regex", "a"], "give one of a text, token ids and a regular expression"),
        (2, ["find"], "give one of a text, token ids and a regular expression"),
        (1, ["find", "a", "--steps", "0:13"], "no steps 0:13"),
        (2, ["find", "a", "--steps", "3:3"], "hold no step"),
        (2, ["find", "a", "--steps", "a:b"], "not of the form START:STOP"),
        (2, ["find", "a", "--every", "5"], "add --count"),
        (1, ["seen", "--document", "99999"], "no document 99999"),
        (2, ["seen"], "name the document by its number, or by shard and row"),
        (1, ["seen", "--shard", "nowhere", "--row", "1"], "no document from row 1 of shard 'nowhere'"),
        (1, ["export", "--steps", "11:14", "-o", "never"], "no steps 11:14"),
        (2, ["export", "--format", "npy", "--text", "-o", "never"], "format npy has no text"),
    ],
)
def test_what_cannot_be_asked(
    code: int,
    arguments: list[str],
    message: str,
    data: str,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in ask.error(code, *arguments, "--data", data)
    assert not list(tmp_path.iterdir())


def test_terms_that_cannot_be_counted(data: str, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    for content, message in (("", "it is empty"), ("one\n\ntwo\n", "line 2"), ("a\n?!\n", "?!")):
        path.write_text(content)
        assert message in ask.error(2, "count", "--data", data, "--terms", path)


@pytest.mark.parametrize("form", ["shuffled", "fetched", "behind a url"])
def test_steps_elsewhere_answer_what_the_stream_does(
    form: str, root: Path, data: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of documents, too: exported as a token dataset, fetched, and fetched and put behind a URL."""
    place: object = root / ("shuffled" if form == "shuffled" else "fetched")
    with running_hub() as hub:
        if form == "behind a url":
            use_as_hub(monkeypatch, hub)
            place = publish(hub, root / "fetched")
        viewer = BatchViewer.open(str(place))
        steps = range(viewer.first_step, viewer.steps)
        document = BatchViewer.open(data).trace(3, 1).column("document")[0].as_py()
        for arguments in (["--document", document], ["--document", document, "--document", 1]):
            here = ask.json("seen", *arguments, "--data", place)
            whole = ask.json("seen", *arguments, "--data", data)["occurrences"]
            assert here["steps"] == [steps.start, steps.stop]
            assert here["occurrences"] == [row for row in whole if row["step"] in steps]
        tokenizer = ["--tokenizer", root / TOKENIZER_NAME]
        found = ask.json("find", PHRASE, "--data", place, *tokenizer)["occurrences"]
        whole = ask.json("find", PHRASE, "--data", data)["occurrences"]
        assert found == [row for row in whole if row["step"] in steps]
        trace = ["trace", "--step", 3, "--row", 7]
        assert ask.json(*trace, "--data", place) == ask.json(*trace, "--data", data)
        piece = ask.json(*trace, "--data", data)["pieces"][0]
        address = ["--shard", piece["shard"], "--row", piece["row"]]
        assert ask.json("seen", *address, "--data", place)["occurrences"]
        message = "is shown by these steps; whether the whole dataset has one is not known here"
        assert message in ask.error(1, "seen", "--shard", "another", "--row", 0, "--data", place)
        by_source = [
            {
                (row["start"], row["source"]): row["tokens"]
                for row in ask.json("mixture", "--every", "1", "--data", stream)["mixture"]
                if row["start"] in steps and row["tokens"]
            }
            for stream in (place, data)
        ]
        assert by_source[0] == by_source[1]
        repeats = ask.json("repeats", "--data", place)["repeats"]
        if form == "shuffled":
            assert repeats == ask.json("repeats", "--data", data)["repeats"]
        tokens = [row for row in repeats if row["kind"] == "tokens"]
        assert sum(row["times"] * row["count"] for row in tokens) == len(steps) * 8 * 256
        message = "trace it in the dataset that they were fetched from"
        assert message in ask.error(1, *trace, "--text", "--data", place)


def test_without_documents_or_their_boundaries(root: Path, ask: Ask, tmp_path: Path) -> None:
    """A pre-shuffled dataset of another tool has no boundaries of documents, and says so."""
    place = tmp_path / "bare"
    place.mkdir()
    for name in ("document.bin", "document.idx", TOKENIZER_NAME):
        (place / name).write_bytes((root / "shuffled" / name).read_bytes())
    shape = ["--seq-length", 256, "--batch-size", 8, "--steps", STEPS]
    ask.text("order", place, "--recipe", "sequential", *shape)
    assert "boundaries of its documents are not known" in ask.error(
        1, "seen", "--data", place, "--document", 0
    )
    assert "sources" in ask.error(1, "mixture", "--data", place)
    found = ask.json("find", PHRASE, "--data", place, "--first")["occurrences"][0]
    assert (found["document"], found["source"], found["shard"]) == (None, None, None)
    kinds = {row["kind"] for row in ask.json("repeats", "--data", place)["repeats"]}
    assert kinds == {"samples", "tokens"}
