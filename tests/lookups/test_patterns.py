"""What is sought: texts and ids that no sequence can hold, and the form in which text is stored."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError
from tests.lookups.conftest import MakeStream


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "give one of a text, token ids and a regular expression"),
        ({"text": "a", "tokens": [1]}, "give one of"),
        ({"text": []}, "no pattern"),
        ({"text": ["a", "a"]}, "given twice"),
        ({"text": ""}, "0 bytes"),
        ({"text": "a" * 20_000}, "20000 bytes; give one of 1 to 16384"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"tokens": []}, "at least one token"),
        ({"tokens": [-1]}, "not negative"),
        ({"tokens": [70_000]}, "does not fit uint16"),
        ({"tokens": [1] * 7}, "longer than a sequence of 6"),
        ({"tokens": ["x"]}, "not whole numbers"),
        ({"tokens": [6.9]}, "token ids [6.9] are not whole numbers"),
        ({"tokens": [[6], [6.0, 1]]}, "not whole numbers"),
        ({"tokens": np.array([6.0])}, "not whole numbers"),
        ({"tokens": 5}, "token ids 5 are not whole numbers"),
        ({"tokens": [[6], 1]}, "not whole numbers"),
        ({"tokens": "1,2"}, "not whole numbers"),
        ({"text": b"abc"}, "text b'abc' is no text (str)"),
        ({"text": b""}, "no pattern is given"),
        ({"text": 5}, "text 5 is no text (str)"),
        ({"text": ["a", 5]}, "text ['a', 5] is no text (str)"),
        ({"regex": 5}, "regular expression 5 is no text (str)"),
        ({"regex": b"a"}, "regular expression b'a' is no text (str)"),
        ({"text": "a", "steps": (1.5, 3)}, "steps (1.5, 3) are not two whole numbers"),
        ({"text": "a", "steps": 5}, "steps 5 are not two whole numbers"),
        ({"text": "a", "steps": (1, 2, 3)}, "steps (1, 2, 3) are not two whole numbers"),
        ({"text": "a", "steps": ()}, "steps () are not two whole numbers"),
        ({"text": "Z"}, "tokenises to nothing"),
        ({"text": "a", "limit": 0}, "limit 0"),
        ({"text": "a", "context": -1}, "context -1"),
        ({"text": "a", "steps": (3, 3)}, "hold no step"),
    ],
)
def test_queries_that_are_none(query: dict[str, Any], message: str, make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    with pytest.raises(ParameterError, match=re.escape(message)):
        viewer.find(**query)


def test_numbers_of_other_kinds_are_whole_numbers_too(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    wanted = viewer.find(tokens=[6], steps=(1, 3))
    assert wanted.num_rows
    several = np.array([[6]], np.uint16)
    steps = (np.int64(1), np.uint8(3))
    assert viewer.find(tokens=several, steps=steps).equals(wanted)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"every 1.5 steps: must be a whole number"):
        viewer.count("a", every=1.5)  # type: ignore[arg-type]


def test_the_form_in_which_text_is_stored(make_stream: MakeStream) -> None:
    made = make_stream([[0, 10, 11, 1] * 9])
    path = Path(made.stream.parts[0].component.dataset.store.name, "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(path))
    viewer = BatchViewer.open(made.dataset.store.name)
    with pytest.raises(ParameterError, match=r"look for 'é'$"):
        viewer.find("e\u0301")
    assert viewer.find("é").num_rows > 12
    # Of a normalizer that changes what it has made no text is stored as it is given.
    tokenizer.normalizer = normalizers.Prepend("a")
    tokenizer.save(str(path))
    viewer = BatchViewer.open(made.dataset.store.name)
    assert viewer.count("b").totals == made.count("b").totals


def test_ids_beyond_the_tokenizer(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 40_000, 11, 0]])
    with pytest.raises(DataError, match="token 40000, but the tokenizer's largest is 12"):
        viewer.find("a")
    with pytest.raises(DataError, match="token 40000, but the tokenizer's largest is 12"):
        viewer.find(tokens=[6])
    assert np.isscalar(viewer.count(tokens=[6]).totals["6"])
