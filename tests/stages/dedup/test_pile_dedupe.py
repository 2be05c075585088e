"""`--preset pile-dedupe` against what EleutherAI's published scripts gave (tests/golden/pile_dedupe)."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.shards import list_shards
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.dedup.pile_dedupe import five_grams, load_word_tokenizer, sign_texts

nltk = pytest.importorskip("nltk")

GOLDEN = Path(__file__).parents[2] / "golden" / "pile_dedupe"
CORPUS = GOLDEN / "corpus.jsonl.zst"
EXPECT: dict[str, Any] = json.loads((GOLDEN / "expect.json").read_text())
PUNKT = Path(__file__).parents[4] / "shared" / "nltk_data"
REFUSED = [run for run in EXPECT["runs"] if "error" in run]
REMOVED = [run for run in EXPECT["runs"] if "error" not in run]


@pytest.fixture
def punkt(monkeypatch: pytest.MonkeyPatch) -> None:
    if not PUNKT.is_dir():
        pytest.skip("needs NLTK's punkt data")
    monkeypatch.setattr(nltk.data, "path", [str(PUNKT)])
    load_word_tokenizer.cache_clear()


@pytest.fixture
def no_punkt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk.tokenize, "_get_punkt_tokenizer", nltk.tokenize.PunktTokenizer)
    load_word_tokenizer.cache_clear()


@pytest.mark.usefixtures("punkt")
@pytest.mark.parametrize("num_perm", [10, 128])
def test_signatures(num_perm: int) -> None:
    batch = next(iter(ShardReader(list_shards([CORPUS])[0])))
    expected = EXPECT["first_20_signatures_by_num_perm"][str(num_perm)]
    assert sign_texts(batch.texts()[:20], num_perm, 1).tolist() == expected


@pytest.mark.usefixtures("punkt")
@pytest.mark.parametrize("run", REMOVED, ids=lambda run: f"{run['num_perm']}-{run['threshold']}")
@pytest.mark.slow
def test_removed_documents(run: dict[str, Any], tmp_path: Path) -> None:
    job = resolve_job(preset="pile-dedupe", threshold=run["threshold"])
    assert (job.num_perm, job.bands.bands, job.bands.rows) == (run["num_perm"], run["bands"], run["rows"])
    manifest = dedup([CORPUS], tmp_path / "out", job, workers=1)
    table = pq.read_table(tmp_path / "out" / "dedup.parquet")
    assert table["row"].to_pylist() == run["removed"]
    assert table["jaccard"].null_count == len(table)
    assert all(
        partner > row
        for row, partner in zip(*(table[c].to_pylist() for c in ("row", "duplicate_of_row")), strict=True)
    )
    assert manifest.counts["kept"] == EXPECT["documents"] - len(run["removed"])
    assert "not published" in manifest.parameters["note"]


@pytest.mark.parametrize("run", REFUSED, ids=lambda run: f"{run['num_perm']}-{run['threshold']}")
def test_what_the_scripts_refuse(run: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as error:
        resolve_job(preset="pile-dedupe", threshold=run["threshold"], num_perm=run["num_perm"])
    assert run["error"] in str(error.value)


@pytest.mark.usefixtures("punkt")
@pytest.mark.slow
def test_shingles_do_not_cross_slices() -> None:
    words = "a b c d e f g h "
    first = words * ((1 << 20) // len(words))
    assert len(first) == 1 << 20
    assert five_grams(first + "p q r s t u") == five_grams(first) | {"p q r s t", "q r s t u"}
    assert "h p q r s" in five_grams(first[len(words) :] + "p q r s t u")


@pytest.mark.usefixtures("no_punkt")
def test_missing_punkt_data_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match=r"punkt_tab.*NLTK_DATA"):
        dedup([CORPUS], tmp_path / "out", resolve_job(preset="pile-dedupe"), workers=1)
    assert not (tmp_path / "out").exists()


def test_options_at_odds() -> None:
    for changes in ({"keep": "first"}, {"ngram": 3}, {"save_signatures": True}):
        with pytest.raises(ParameterError, match="pile-dedupe"):
            resolve_job(preset="pile-dedupe", **changes)  # type: ignore[arg-type]
