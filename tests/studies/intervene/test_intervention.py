"""Interventions, and the parameters that identify their overlays."""

from pathlib import Path

import pytest

from pile_tools.storage.manifest import sha256_file
from pile_tools.studies.intervene.intervene import Intervention
from pile_tools.studies.intervene.intervention import overlay_parameters


def test_parameters_hold_files_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("5", "no document"), ("new.txt", "text"), ("list.parquet", "rows")):
        Path(name).write_text(content)
    Path("table.tsv").write_text(" he\t she\n")
    intervention = Intervention(
        swap="table.tsv",
        drop=["5", "list.parquet", "source:list.parquet"],
        replace=[("5", "5"), ("6", str(tmp_path / "new.txt"))],
        move=[("7", 3)],
    )
    assert overlay_parameters(intervention, 2, 9, 4) == {
        "from_step": 2,
        "to_step": 9,
        "batch_size": 4,
        "swap": [[" he", " she"]],
        "allow_length_change": False,
        "drop": ["5", f"list.parquet {sha256_file('list.parquet')}", "source:list.parquet"],
        "replace": [["5", "5"], ["6", f"new.txt {sha256_file('new.txt')}"]],
        "move": [["7", 3]],
    }


def test_an_intervention_is_empty_until_it_names_a_change() -> None:
    assert Intervention(allow_length_change=True).is_empty
    changes = (Intervention(swap="pronouns"), Intervention(drop=["1"]), Intervention(move=[("1", 2)]))
    assert not any(change.is_empty for change in (*changes, Intervention(replace=[("1", "2")])))
