from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.studies import memorize as module
from pile_tools.studies.memorize import memorize
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.viewer import BatchViewer
from tests.studies.small import make_own


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelName:
    return ModelName(str(make_own(tmp_path_factory.mktemp("model") / "step3")))


@pytest.mark.slow
def test_rows_are_what_generate_reproduces(place: StreamPlace, model: ModelName, tmp_path: Path) -> None:
    path = tmp_path / "mem.parquet"
    assert memorize(place, model, path, start=1, stop=6, k=7, l=5, model_batch_size=3)
    rows = pq.read_table(path).to_pylist()
    viewer = BatchViewer.open(place.data)
    judge = transformers.AutoModelForCausalLM.from_pretrained(model.location).eval()
    assert [(row["step"], row["row"]) for row in rows] == [(s, r) for s in range(1, 6) for r in range(4)]
    for row in rows:
        tokens = viewer.sequence(row["step"], row["row"]).astype(np.int64)
        prompt = torch.from_numpy(tokens[None, :7])
        with torch.inference_mode():
            found = judge.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=5,
                min_new_tokens=5,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )[0, 7:].tolist()
        same = [one == two for one, two in zip(found, tokens[7:12].tolist(), strict=True)]
        assert row["continuation"] == found
        assert row["n_matched"] == sum(same)
        assert row["share"] == sum(same) / 5
        assert row["n_prefix"] == (same.index(False) if False in same else 5)
        pieces = viewer.trace(row["step"], row["row"]).to_pylist()
        shown = {
            p["position"]: max(0, min(12, p["position"] + p["n_tokens"]) - p["position"]) for p in pieces
        }
        most = max(shown, key=lambda position: (shown[position], -position))
        piece = next(p for p in pieces if p["position"] == most)
        origin = (piece["document"], piece["offset"], shown[most])
        assert (row["document"], row["offset"], row["n_tokens"]) == origin
        assert row["source"] is None


@pytest.mark.slow
def test_workers_and_interruption_change_nothing(
    place: StreamPlace, model: ModelName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART_SEQUENCES", 8)
    whole, other, resumed = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet"))
    memorize(place, model, whole, start=0, stop=7, k=4, l=4)
    memorize(place, model, other, start=0, stop=7, k=4, l=4, workers=2)

    def fail(label: str, done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memorize(place, model, resumed, start=0, stop=7, k=4, l=4, progress=fail)
    assert not resumed.exists()
    written = list((tmp_path / "c.parquet.unfinished").rglob("*.parquet"))
    assert written
    computed: list[int] = []
    original = module.continue_rows
    monkeypatch.setattr(
        module, "continue_rows", lambda *arguments: (computed.append(1), original(*arguments))[1]
    )
    assert memorize(place, model, resumed, start=0, stop=7, k=4, l=4)
    assert len(computed) == 7 - 2 * len(written)
    assert whole.read_bytes() == other.read_bytes() == resumed.read_bytes()
    assert not (tmp_path / "c.parquet.unfinished").exists()
    assert not memorize(place, model, whole, start=0, stop=7, k=4, l=4)
    with pytest.raises(PileToolsError, match="of another job"):
        memorize(place, model, whole, start=0, stop=7, k=4, l=5)


def test_bad_input_is_named(place: StreamPlace, model: ModelName, tmp_path: Path) -> None:
    path = tmp_path / "mem.parquet"
    with pytest.raises(ParameterError, match=r"k \+ l is 50, but sequences .* have 49 tokens"):
        memorize(place, model, path, start=0, stop=2, k=25, l=25)
    with pytest.raises(OutOfRangeError, match="there are 0:"):
        memorize(place, model, path, start=0, stop=10_000)
    with pytest.raises(ParameterError, match="no step"):
        memorize(place, model, path, start=3, stop=3)
    with pytest.raises(ParameterError, match="k 0 must be at least 1"):
        memorize(place, model, path, start=0, stop=1, k=0)
    small = ModelName(str(make_own(tmp_path / "small", vocab=90)))
    with pytest.raises(DataError, match=r"step 0: token 9\d, but the vocabulary .* has 90 ids"):
        memorize(place, small, path, start=0, stop=1, k=20, l=20)
    assert not path.exists()
