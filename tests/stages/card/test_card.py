"""`card`, judged by mlcroissant and by reading the YAML header as the Hub does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pile_tools_cli.main import run

from pile_tools.checks.checks import verify
from pile_tools.errors import PileToolsError, UnfinishedError
from pile_tools.stages.card.card import write_card
from pile_tools.stages.card.croissant import Description
from pile_tools.stages.recut import recut
from pile_tools.storage.manifest import Manifest
from tests.stages.card.conftest import FULL, judge
from tests.token_data import GOLDEN


def test_a_deduplicated_corpus(made: Path) -> None:
    write_card(made / "kept", FULL)
    errors, warnings, files, records = judge(made / "kept")
    assert (errors, warnings) == ([], [])
    assert set(files) == {"in.jsonl", "dedup.parquet", "manifest.json"}
    assert [record["removed/row"] for record in records["removed"]] == [20]


def test_the_header_is_what_the_hub_reads(made: Path) -> None:
    write_card(made / "tokens", FULL)
    text = (made / "tokens/README.md").read_text()
    empty, header, body = text.split("---\n", 2)
    assert empty == ""
    assert yaml.safe_load(header) == {
        "pretty_name": FULL.name,
        "license": "apache-2.0",
        "language": ["en", "de"],
        "tags": ["pile-tools", "tokenize"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "documents", "data_files": "documents.parquet"}],
    }
    manifest = Manifest.read(made / "tokens")
    assert f"{manifest.counts['tokens']:,} tokens of 20 documents" in body
    assert "A\\|B" in body
    for entry in manifest.outputs:
        assert f"| `{entry.name}` | {entry.bytes:,} | `{entry.sha256}` |" in body
    assert [
        line.split(" ")[1] for line in body.splitlines() if line.startswith(("| order", "| tok", "| ded"))
    ] == [
        "order",
        "tokenize",
        "dedup",
    ]


def test_a_licence_by_url(made: Path) -> None:
    write_card(made / "tokens", Description("small", "Small.", license="https://example.org/terms"))
    header = yaml.safe_load((made / "tokens/README.md").read_text().split("---\n")[1])
    assert (header["license"], header["license_link"]) == ("other", "https://example.org/terms")


def test_the_same_work_gives_the_same_bytes_and_changes_nothing_else(made: Path) -> None:
    write_card(made / "tokens", FULL)
    first = [(made / "tokens" / name).read_bytes() for name in ("croissant.json", "README.md")]
    write_card(made / "tokens", FULL)
    assert [(made / "tokens" / name).read_bytes() for name in ("croissant.json", "README.md")] == first
    verify([made / "tokens"])


def test_a_readme_of_the_users_own_stays(made: Path) -> None:
    (made / "tokens/README.md").write_text("# Mine\n")
    with pytest.raises(PileToolsError, match=r"README\.md: not written by `pile-tools card`"):
        write_card(made / "tokens", FULL)
    assert not (made / "tokens/croissant.json").exists()
    write_card(made / "tokens", FULL, replace=True)
    assert "# Mine" not in (made / "tokens/README.md").read_text()


def test_what_other_stages_make(made: Path) -> None:
    recut(GOLDEN / "neox/small_u16", made / "cut", shard_bytes=10_000)
    write_card(made / "cut", FULL)
    errors, warnings, files, records = judge(made / "cut")
    assert (errors, warnings, records) == ([], [], {})
    assert "document.idx" in files
    assert "size_categories" not in (made / "cut/README.md").read_text()


@pytest.mark.parametrize(
    ("documents", "category"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "n>1B")]
)
def test_size_categories(documents: int, category: str, made: Path) -> None:
    manifest = Manifest.read(made / "tokens")
    replace(manifest, counts={**manifest.counts, "documents": documents}).write(made / "tokens")
    (made / "tokens/order.json").unlink()
    write_card(made / "tokens", FULL)
    header = yaml.safe_load((made / "tokens/README.md").read_text().split("---\n")[1])
    assert header["size_categories"] == [category]


def test_a_directory_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match=r"manifest\.json: missing"):
        write_card(tmp_path, FULL)


def test_command(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["card", str(made / "tokens"), "--license", "MIT", "--language", "en"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(made / "tokens/croissant.json"), str(made / "tokens/README.md")]
    assert lines[2] == "Croissant asks for more: --url, --creator, --date-published"
    assert "# tokens\n" in (made / "tokens/README.md").read_text()
    assert run(["card", str(made / "tokens"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["missing"] == ["license", "url", "creator", "date-published"]
