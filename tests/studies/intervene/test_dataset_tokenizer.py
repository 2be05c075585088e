"""The tokenizer that made a token dataset."""

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pile_tools.errors import (
    MismatchError,
    ParameterError,
)
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.studies.intervene.dataset_tokenizer import dataset_tokenizer


def test_the_tokenizer_beside_a_dataset_takes_text_for_text(data: Path) -> None:
    tokenizer = dataset_tokenizer(TokenDataset.open(data), None)
    plain = Tokenizer.from_file(str(data / "tokenizer.json"))
    assert tokenizer.encode(" he said").ids == plain.encode(" he said").ids
    end = plain.token_to_id("<|endoftext|>")
    assert end in plain.encode("<|endoftext|>").ids
    assert end not in tokenizer.encode("<|endoftext|>").ids


def test_a_tokenizer_that_is_not_here_or_another_is_refused(data: Path, tmp_path: Path) -> None:
    dataset = TokenDataset.open(data)
    content = (data / "tokenizer.json").read_text()
    (tmp_path / "other.json").write_text(content + "\n")
    with pytest.raises(MismatchError, match=r"other.json: SHA-256 .* give the tokenizer that made it"):
        dataset_tokenizer(dataset, str(tmp_path / "other.json"))
    shutil.copytree(data, tmp_path / "tokens")
    (tmp_path / "tokens/tokenizer.json").unlink()
    with pytest.raises(ParameterError, match=r"no tokenizer beside the dataset; give one with --tokenizer"):
        dataset_tokenizer(TokenDataset.open(tmp_path / "tokens"), None)
