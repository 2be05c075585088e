"""``tokenizer.json``: found by path or Hub id, checked, hashed, and loaded so that it only encodes.

The file is checked before any library sees it, because a library takes ids as they come: one that
allocates by the largest id is brought down by it, and one that numbers added tokens itself quietly
gives them other ids than the file.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import tokenizers

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.hub_downloads import downloaded
from pile_tools.formats.hub_ids import split_hub_id

__all__ = ["MAX_TOKENIZER_BYTES", "TOKENIZER_NAME", "TokenizerFile", "parse_tokenizer", "read_tokenizer"]

TOKENIZER_NAME: Final = "tokenizer.json"
MAX_TOKENIZER_BYTES: Final = 256 << 20
"""The largest tokenizer.json that is read; the largest in use are a tenth of it."""

_MAX_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A checked ``tokenizer.json``.

    ``name`` as manifests give it (a Hub id, or the file's own name), ``content`` its bytes, ``sha256``
    of them in hexadecimal. ``vocab_size`` counts the ids, those of added tokens too; the largest is
    ``max_id``.
    """

    name: str
    path: Path
    content: bytes
    sha256: str
    vocab_size: int
    max_id: int

    def load(self) -> tokenizers.Tokenizer:
        """Return it as a `tokenizers.Tokenizer` with truncation and padding off, whatever the file says."""
        return _load(self.content, self.path)


def read_tokenizer(given: str, *, allow_id_gaps: bool = False) -> TokenizerFile:
    """Find, read and check a tokenizer.

    ``given`` is the path of a tokenizer.json, of a directory that holds one, or an id on the Hub
    ("owner/name", or "owner/name@revision"). Ids must be unique, below 2³¹ and, unless ``allow_id_gaps``,
    without gaps from 0 up. Raises PileToolsError where it cannot be found or fetched and DataError
    where its content is not usable.
    """
    path, name = _find(given)
    size = path.stat().st_size
    if size > MAX_TOKENIZER_BYTES:
        raise DataError(
            f"{path}: {size} bytes, more than the {MAX_TOKENIZER_BYTES} that a tokenizer.json may have; "
            "name the right file"
        )
    return parse_tokenizer(path.read_bytes(), path, name, allow_id_gaps=allow_id_gaps)


def parse_tokenizer(
    content: bytes, path: Path, name: str = TOKENIZER_NAME, *, allow_id_gaps: bool = False
) -> TokenizerFile:
    """Check the bytes of the tokenizer.json at ``path``; see ``read_tokenizer``."""
    ids = _vocabulary(content, path)
    _check_ids(ids, path, allow_id_gaps=allow_id_gaps)
    loaded = _load(content, path)
    for token, number in ids:
        if loaded.token_to_id(token) != number:
            raise DataError(
                f"{path}: token {token!r} has the id {number}, but the tokenizers library gives it "
                f"{loaded.token_to_id(token)}; mend the file's added_tokens"
            )
    max_id = max(number for _, number in ids)
    return TokenizerFile(
        name, path, content, hashlib.sha256(content).hexdigest(), len({number for _, number in ids}), max_id
    )


def _find(given: str) -> tuple[Path, str]:
    path = Path(given)
    if path.is_dir():
        path /= TOKENIZER_NAME
        if not path.is_file():
            raise PileToolsError(
                f"{path}: no such file; name a tokenizer.json or a Hub id with `--tokenizer`"
            )
        return path, path.name
    if path.is_file():
        return path, path.name
    repository, revision = split_hub_id(given, "file")
    return _fetch(repository, revision), given


def _fetch(repository: str, revision: str | None) -> Path:
    from logging import CRITICAL

    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)  # its retries are not news: what comes of them is said below
    try:
        return downloaded(
            repository,
            lambda: huggingface_hub.hf_hub_download(repository, TOKENIZER_NAME, revision=revision),
        )
    except LocalEntryNotFoundError:
        raise PileToolsError(
            f"{repository}: the Hub cannot be reached and its cache does not hold this {TOKENIZER_NAME}, and "
            "there is no file or directory of that name here; "
            "fetch that file where there is a network and give its path with `--tokenizer`"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PileToolsError(
            f"{repository}: its {TOKENIZER_NAME} cannot be fetched from the Hub ({reason}), and there is no "
            "file or directory of that name here; "
            "check the id, or give the path of the file"
        ) from None
    finally:
        logging.set_verbosity(verbosity)


@functools.lru_cache(maxsize=1)  # to check it, to ask it for a token and to encode with it
def _load(content: bytes, path: Path) -> tokenizers.Tokenizer:
    try:
        loaded = tokenizers.Tokenizer.from_buffer(content)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # bare Exception, or a panic of native code, which is none
        raise _unusable(path, " ".join(str(error).split())) from None
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _unusable(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: not a usable tokenizer.json ({reason})")


def _vocabulary(content: bytes, path: Path) -> list[tuple[str, int]]:
    """All (token, id) pairs of the file, the model's and the added ones."""
    try:
        root: Any = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _unusable(path, f"not JSON: {error}") from None
    model = root.get("model") if isinstance(root, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, dict):
        pairs = list(vocab.items())
    elif isinstance(vocab, list):  # Unigram: [token, score] in the order of ids
        if not all(isinstance(entry, list) and len(entry) == 2 for entry in vocab):
            raise _unusable(path, "its vocabulary is not of [token, score] pairs")
        pairs = [(entry[0], number) for number, entry in enumerate(vocab)]
    else:
        raise _unusable(path, "no vocabulary under model.vocab")
    if isinstance(model, dict) and model.get("dropout"):
        raise _unusable(path, f"BPE dropout {model['dropout']} makes its output random; remove it")
    added = root.get("added_tokens") or []
    if not isinstance(added, list):
        raise _unusable(path, "its added_tokens are no list")
    if not all(isinstance(token, Mapping) and {"id", "content"} <= set(token) for token in added):
        raise _unusable(path, "an added token without id or content")
    listed = [(token["content"], token["id"]) for token in added]
    for token, number in [*pairs, *listed]:
        if not isinstance(token, str) or type(number) is not int:
            raise _unusable(path, f"token {token!r} has the id {number!r}")
    known = set(pairs)
    pairs += [pair for pair in listed if pair not in known]
    if not pairs:
        raise _unusable(path, "its vocabulary is empty")
    return pairs


def _check_ids(pairs: list[tuple[str, int]], path: Path, *, allow_id_gaps: bool) -> None:
    for token, number in pairs:
        if not 0 <= number <= _MAX_ID:
            raise _unusable(path, f"token {token!r} has the id {number}; ids run from 0 to {_MAX_ID}")
    numbers = np.sort(np.fromiter((number for _, number in pairs), np.int64, len(pairs)))
    repeated = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(repeated):
        tokens = [token for token, number in pairs if number == repeated[0]]
        raise _unusable(path, f"id {repeated[0]} stands for {tokens[0]!r} and {tokens[1]!r}")
    token, times = Counter(token for token, _ in pairs).most_common(1)[0]
    if times > 1:
        raise _unusable(path, f"token {token!r} has {times} ids")
    if not allow_id_gaps and numbers[-1] != len(numbers) - 1:
        gap = int(np.flatnonzero(numbers != np.arange(len(numbers)))[0])
        raise _unusable(
            path,
            f"no token has the id {gap}, but ids go up to {numbers[-1]}; "
            "where that is meant, say `--allow-id-gaps`",
        )
