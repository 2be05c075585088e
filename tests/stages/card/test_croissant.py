"""Croissant metadata, judged by mlcroissant."""

import json
from pathlib import Path

import yaml

from pile_tools.stages.card.card import write_card
from pile_tools.stages.card.croissant import Description
from pile_tools.storage.manifest import Manifest, sha256_file
from tests.stages.card.conftest import FULL, judge


def test_mlcroissant_finds_nothing_to_say(made: Path) -> None:
    write_card(made / "tokens", FULL)
    errors, warnings, files, records = judge(made / "tokens")
    assert (errors, warnings) == ([], [])
    assert {name: sha256_file(made / "tokens" / name) for name in files} == files
    listed = {entry.name for entry in Manifest.read(made / "tokens").outputs}
    assert listed | {"manifest.json", "order.json"} < set(files)
    assert len(records["documents"]) == 20
    first = {key.partition("/")[2]: value for key, value in records["documents"][0].items()}
    assert (first["shard"], first["row"], first["source"]) == ("in.jsonl", 0, "A|B")
    value = json.loads((made / "tokens/croissant.json").read_text())
    assert value["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert value["license"] == "https://spdx.org/licenses/Apache-2.0"


def test_what_is_not_given_is_left_out(made: Path) -> None:
    bare = Description("small", "Small.")
    assert bare.missing == ["license", "url", "creator", "date-published"]
    assert FULL.missing == []
    write_card(made / "tokens", bare)
    errors, warnings, _, _ = judge(made / "tokens")
    assert errors == []
    assert all("is recommended" in warning for warning in warnings)
    assert "license" not in json.loads((made / "tokens/croissant.json").read_text())
    assert "license" not in yaml.safe_load((made / "tokens/README.md").read_text().split("---\n")[1])
