import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run
from tokenizers import Tokenizer
from xxhash import xxh3_128_digest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.blend import make_blend
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches


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
