"""``tokenizer.json``: what is taken, what is refused, and what loading switches off."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats import tokenizer as module
from pile_tools.formats.tokenizer import read_tokenizer

WORDS = {"<|endoftext|>": 0, "a": 1, "b": 2, "[UNK]": 3}
ROOT = Path(__file__).parents[2]
NEOX = ROOT / "../shared/tokenizer/20B_tokenizer.json"


def content(**changes: Any) -> dict[str, Any]:
    built = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    value: dict[str, Any] = json.loads(built.to_str())
    for key, change in changes.items():
        place, _, last = key.rpartition("__")
        target = value
        for part in place.split("__") if place else []:
            target = target[part]
        target[last] = change
    return value


def write(directory: Path, **changes: Any) -> Path:
    path = directory / "tokenizer.json"
    path.write_text(json.dumps(content(**changes)))
    return path


def added(content: str, number: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": True, **flags}


def test_what_is_known_of_a_good_one(tmp_path: Path) -> None:
    path = write(tmp_path, added_tokens=[added("<|endoftext|>", 0), added("<|x|>", 4)])
    found = read_tokenizer(str(path))
    assert (found.name, found.path, found.content) == ("tokenizer.json", path, path.read_bytes())
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.vocab_size, found.max_id) == (5, 4)
    assert read_tokenizer(str(tmp_path)) == found


def test_loading_switches_off_what_would_change_a_document(tmp_path: Path) -> None:
    built = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    built.enable_truncation(1)
    built.enable_padding(length=9)
    built.post_processor = processors.TemplateProcessing(single="$A b", special_tokens=[("b", 2)])
    built.save(str(tmp_path / "tokenizer.json"))
    loaded = read_tokenizer(str(tmp_path)).load()
    assert loaded.encode("a b a", add_special_tokens=False).ids == [1, 2, 1]


def test_unigram_ids_are_places_in_the_list(tmp_path: Path) -> None:
    Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -2.0)], unk_id=0)).save(
        str(tmp_path / "tokenizer.json")
    )
    assert read_tokenizer(str(tmp_path)).max_id == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__vocab": {"a": 0, "b": 2, "[UNK]": 1, "c": 2**31}}, "'c' has the id 2147483648"),
        ({"model__vocab": {"a": 0, "b": 2, "[UNK]": 1, "c": 2**40}}, "'c' has the id 1099511627776"),
        ({"model__vocab": {"a": 0, "b": -1, "[UNK]": 1}}, "'b' has the id -1"),
        ({"model__vocab": {"a": 0, "b": 1.5, "[UNK]": 1}}, "'b' has the id 1.5"),
        ({"model__vocab": {"a": 0, "b": True, "[UNK]": 1}}, "'b' has the id True"),
        ({"model__vocab": {"a": 0, "b": 1, "[UNK]": 1}}, "id 1 stands for 'b' and '\\[UNK\\]'"),
        ({"model__vocab": {"a": 0, "b": 1, "[UNK]": 3}}, "no token has the id 2, but ids go up to 3"),
        ({"model__vocab": {}}, "vocabulary is empty"),
        ({"model__vocab": 7}, "no vocabulary"),
        ({"model__vocab": [1, 2]}, "not of \\[token, score\\] pairs"),
        ({"model": None}, "no vocabulary"),
        ({"model__type": "Unheard"}, "not a usable tokenizer.json"),
        ({"model__dropout": 0.1}, "dropout 0.1"),
        ({"added_tokens": [added("x", 1)]}, "id 1 stands for 'a' and 'x'"),
        ({"added_tokens": [added("a", 4)]}, "'a' has 2 ids"),
        ({"added_tokens": [added("x", 9)]}, "no token has the id 4, but ids go up to 9"),
        ({"added_tokens": [added("x", 2**31)]}, "'x' has the id 2147483648"),
        ({"added_tokens": [added("x", "4")]}, "'x' has the id '4'"),
        ({"added_tokens": [{"id": 4}]}, "without id or content"),
        ({"added_tokens": [added([], 4)]}, "has the id 4"),
        ({"added_tokens": 5}, "added_tokens"),
    ],
)
def test_a_hostile_file_is_an_error_that_says_why(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_tokenizer(str(write(tmp_path, **changes)))
    assert "tokenizer.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"model": {"vocab": {"a": 0}}}'])
def test_what_is_no_tokenizer(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"not a usable tokenizer\.json"):
        read_tokenizer(str(path))


def test_gaps_on_request_as_long_as_the_library_keeps_the_ids(tmp_path: Path) -> None:
    path = write(tmp_path, model__vocab={"a": 0, "b": 7, "[UNK]": 3})
    found = read_tokenizer(str(path), allow_id_gaps=True)
    assert (found.vocab_size, found.max_id) == (3, 7)
    # The library numbers added tokens itself: one that it would number otherwise than the file is refused.
    path = write(tmp_path, added_tokens=[added("x", 9)])
    with pytest.raises(DataError, match="'x' has the id 9, but the tokenizers library gives it 4"):
        read_tokenizer(str(path), allow_id_gaps=True)


def test_size_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setattr(module, "MAX_TOKENIZER_BYTES", 100)
    with pytest.raises(DataError, match="more than the 100 that"):
        read_tokenizer(str(path))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match=r"nowhere\.json: no such file"):
        read_tokenizer(str(tmp_path / "nowhere.json"))
    with pytest.raises(PileToolsError, match="no such file; name a tokenizer"):
        read_tokenizer(str(tmp_path))


def test_hub_id_without_network_names_the_id_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*arguments: Any, **settings: Any) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(PileToolsError, match=r"EleutherAI/none: the Hub cannot be reached.*--tokenizer"):
        read_tokenizer("EleutherAI/none")


def test_hub_id_is_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    path = write(tmp_path)
    asked: list[Any] = []

    def fetched(repository: str, name: str, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    assert read_tokenizer("owner/some-model").name == "owner/some-model"
    assert read_tokenizer("owner/some-model@v1").name == "owner/some-model@v1"
    assert asked == [
        ("owner/some-model", "tokenizer.json", None),
        ("owner/some-model", "tokenizer.json", "v1"),
    ]


@pytest.mark.skipif(not NEOX.exists(), reason="needs the GPT-NeoX tokenizer")
def test_the_tokenizer_that_trained_pythia() -> None:
    found = read_tokenizer(str(NEOX))
    assert (found.vocab_size, found.max_id) == (50277, 50276)
