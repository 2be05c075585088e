"""Documents named by number, by source or in a file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import OutOfRangeError
from pile_tools.studies.intervene.intervene import Intervention, intervene


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
