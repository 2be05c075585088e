"""Texts to token ids: `fastokens` in bulk, with the `tokenizers` library as the judge of what it gives.

`tokenizers` defines the result. `fastokens` encodes the same tokenizer.json some ten times as fast and is
used where it agrees: on ``PROBES``, and in every shard on its first documents and a fixed sample of the
others. Where it does not, the stage encodes the whole job with `tokenizers`.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final, Literal, Protocol

import fastokens
import numpy as np
from numpy.typing import NDArray

from pile_tools.errors import BulkEncoderError
from pile_tools.formats.tokenizer import TokenizerFile

__all__ = [
    "DIFFERS",
    "PROBES",
    "BulkEncoder",
    "Encoded",
    "Encoder",
    "EncoderName",
    "Judge",
    "ReferenceEncoder",
    "bulk_encoder",
    "reference_encoder",
]

DIFFERS: Final = "fastokens differs from tokenizers"
EncoderName = Literal["fastokens", "tokenizers"]
Encoded = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""(ids, counts): the ids of n texts end to end, and int64 [n] how many each has."""

# Each holds something that pre-tokenizers, normalizers or added tokens treat in a way of its own.
PROBES: Final = (
    "",
    "Hello, world! It's 1997's best: we'll see 3,14 and 2^10.",
    "def f(x):\n    if x:\n\t\treturn  x   # done\r\n\r\n\r\n",
    " " * 3 + "a" + " " * 23 + "b" + " " * 24 + "c" + " " * 25 + "d" + " " * 70 + "\n" * 9 + "\t" * 9 + " ",
    "e\u0301 \u00e9 \u212b \u1100\u1161\u11a8 \uac01 \u0958 \u0f71\u0f72\u0f74 \ufb1d q\u0323\u0307 \u0344",
    "\u00a0x\u2003y\u3000z\u200b\u200d\ufeff\u2028\u2029\x85\x1f\x00\x7f\ufffd",
    "<|endoftext|>a<|endoftext|><|padding|> <|endoftext|>\n<|endoftext<|endoftext|>|>",
    "漢字かな交じり文 한국어 ไทย العربية עברית Ελληνικά Ǆ ǅ ﬃ ½ ² Ⅷ ٣٤ 𝟘",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f3f4\U000e0067\U000e007f",
    "x" * 3000 + "ab" * 2000 + "-" * 300 + "=" * 77 + "12345678901234567890" * 20,
)


class Encoder(Protocol):
    """Gives the ids of texts: no special tokens added, nothing truncated, nothing padded."""

    def encode(self, texts: Sequence[str]) -> Encoded: ...


class ReferenceEncoder:
    """The `tokenizers` library."""

    # An encoding holds some 100 bytes for each token: what is encoded at once bounds the memory.
    _BATCH_CHARACTERS = 1 << 20

    def __init__(self, tokenizer: TokenizerFile) -> None:
        self._tokenizer = tokenizer.load()

    def encode(self, texts: Sequence[str]) -> Encoded:
        parts: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        counts = np.zeros(len(texts), np.int64)
        start = 0
        while start < len(texts):
            stop, held = start, 0
            while stop < len(texts) and (stop == start or held + len(texts[stop]) <= self._BATCH_CHARACTERS):
                held += len(texts[stop])
                stop += 1
            found = self._tokenizer.encode_batch_fast(list(texts[start:stop]), add_special_tokens=False)
            ids = [encoding.ids for encoding in found]
            counts[start:stop] = [len(part) for part in ids]
            total = int(counts[start:stop].sum())
            parts.append(np.fromiter(chain.from_iterable(ids), np.uint32, total))
            start = stop
        return np.concatenate(parts), counts


class BulkEncoder:
    """The `fastokens` library. Raises BulkEncoderError where that fails in any way."""

    def __init__(self, tokenizer: TokenizerFile) -> None:
        with _native_errors("fastokens cannot load this tokenizer", details=True):
            self._tokenizer = fastokens.Tokenizer.from_json_str(tokenizer.content.decode())
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Encoded:
        # Without details: which of several workers meets its text first is chance, and manifests are not.
        with _native_errors("fastokens cannot encode a text", details=False):
            ids, offsets = self._tokenizer.encode_batch_flat(list(texts), add_special_tokens=False)
        ends = np.frombuffer(offsets, "<u8").astype(np.int64)
        return np.frombuffer(ids, "<u4"), ends[1:] - ends[:-1]


@contextmanager
def _native_errors(what: str, *, details: bool) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of native code is no Exception
        reason = f" ({' '.join(str(error).split())[:200]})" if details else ""
        raise BulkEncoderError(what + reason) from None


class Judge:
    """Compare what an encoder gave for the documents of one shard with what `tokenizers` gives.

    Judged are the shard's first documents (``FIRST`` of them, or as many as ``FIRST_CHARACTERS`` hold, one
    at least) and then each whose number in the shard is a multiple of ``EVERY``: 1 in 512 costs some 5 %.
    Of a text longer than ``MAX_CHARACTERS`` its beginning is judged, encoded by both on its own.
    """

    FIRST: Final = 8
    FIRST_CHARACTERS: Final = 1 << 18
    EVERY: Final = 512
    MAX_CHARACTERS: Final = 1 << 20

    def __init__(self, encoder: Encoder, reference: Encoder) -> None:
        self._encoder, self._reference = encoder, reference
        self._seen = self._characters = 0
        self.judged = 0

    def first_difference(self, texts: Sequence[str], encoded: Encoded) -> int | None:
        """Return the place of the first judged text whose ids differ; None where all agree.

        ``texts`` are the documents of the shard that follow those of the last call, ``encoded`` what the
        encoder gave for them.
        """
        ids, counts = encoded
        ends = np.cumsum(counts)
        for place, text in enumerate(texts):
            if not self._is_judged(text):
                continue
            given = ids[ends[place] - counts[place] : ends[place]]
            if len(text) > self.MAX_CHARACTERS:
                text = text[: self.MAX_CHARACTERS]
                given, _ = self._encoder.encode([text])
            right, _ = self._reference.encode([text])
            if not np.array_equal(given, right):
                return place
            self.judged += 1
        return None

    def _is_judged(self, text: str) -> bool:
        first = self._seen < self.FIRST and (self._seen == 0 or self._characters < self.FIRST_CHARACTERS)
        chosen = first or self._seen % self.EVERY == 0
        self._seen += 1
        self._characters += len(text)
        return chosen


# Once in a process, for all the shards that it reads.
@functools.lru_cache(maxsize=1)
def bulk_encoder(tokenizer: TokenizerFile) -> BulkEncoder:
    """The fastokens encoder of ``tokenizer``; BulkEncoderError where it is not fit for ``PROBES``."""
    bulk = BulkEncoder(tokenizer)
    given, right = bulk.encode(PROBES), reference_encoder(tokenizer).encode(PROBES)
    if not (np.array_equal(given[0], right[0]) and np.array_equal(given[1], right[1])):
        raise BulkEncoderError(DIFFERS)
    return bulk


@functools.lru_cache(maxsize=1)
def reference_encoder(tokenizer: TokenizerFile) -> ReferenceEncoder:
    """The tokenizers encoder of ``tokenizer``."""
    return ReferenceEncoder(tokenizer)
