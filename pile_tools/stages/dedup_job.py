"""What one deduplication is asked to do, with everything resolved that a preset or a default leaves open."""

from dataclasses import dataclass
from typing import Any, Literal

from pile_tools.algorithms.lsh import Bands, datasketch_bands, recall_bands
from pile_tools.algorithms.minhash import Scheme
from pile_tools.algorithms.shingle import MAX_NGRAM
from pile_tools.algorithms.unicode_data import Normalization
from pile_tools.errors import ParameterError
from pile_tools.formats.documents import BadRecordPolicy

__all__ = ["RULES", "DedupJob", "Keep", "Preset", "Verify", "resolve_job"]

Verify = Literal["exact", "none"]
Keep = Literal["first", "last", "longest"]
Preset = Literal["datasketch", "pile-dedupe"]

DEFAULT_THRESHOLD = "0.87"
DEFAULT_NGRAM = 5
DEFAULT_NUM_PERM = 128
DEFAULT_SEED = 1
DEFAULT_MAX_DOCUMENT_BYTES = 64 << 20

RULES = 2
"""What words, partners and equal texts are: ``rules`` of a manifest, which version 0.1.0 does not name."""

MAX_NUM_PERM = 4096
"""Recall at any threshold needs no more, and datasketch's search for its bands takes longer than linear."""

MAX_SEED = (1 << 32) - 1

PILE_DEDUPE_NUM_PERM = 10
PILE_DEDUPE_NOTE = (
    "The published scripts use 10 permutations, with which datasketch refuses the threshold 0.87 that is "
    "stated for the Pile; the number used for the original Pile is not published."
)


@dataclass(frozen=True, slots=True)
class DedupJob:
    """A resolved job. ``method``: "minhash", "text" (equal texts only) or "pile-dedupe".

    ``threshold`` keeps the digits as they were given, since a manifest holds no floats.
    """

    method: Literal["minhash", "text", "pile-dedupe"]
    threshold: str
    verify: Verify
    keep: Keep
    preset: Preset | None
    normalize: Normalization
    ngram: int
    num_perm: int
    seed: int
    scheme: Scheme
    bands: Bands
    on_bad_record: BadRecordPolicy
    max_document_bytes: int
    text_field: str
    source_field: str
    save_signatures: bool

    @property
    def threshold_value(self) -> float:
        return float(self.threshold)

    @property
    def wide_keys(self) -> bool:
        """Whether band keys have 128 bits: where nothing is verified, a key stands for its values."""
        return self.verify == "none"

    def parameters(self) -> dict[str, Any]:
        """The parameters as a manifest states them: all that can change a byte of the outputs."""
        common: dict[str, Any] = {
            "method": self.method,
            "keep": self.keep,
            "on_bad_record": self.on_bad_record,
            "max_document_bytes": self.max_document_bytes,
            "text_field": self.text_field,
            "source_field": self.source_field,
        }
        if self.method != "pile-dedupe":
            common["rules"] = RULES
        if self.method == "text":
            return common
        if self.method == "minhash":
            common["normalize"] = self.normalize
        return common | {
            "threshold": self.threshold,
            "verify": self.verify,
            "preset": self.preset,
            "ngram": self.ngram,
            "num_perm": self.num_perm,
            "seed": self.seed,
            "scheme": self.scheme,
            "bands": self.bands.bands,
            "rows": self.bands.rows,
            "save_signatures": self.save_signatures,
            **({"note": PILE_DEDUPE_NOTE} if self.method == "pile-dedupe" else {}),
        }


def _threshold(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise ParameterError(f"threshold {text}: must be a number above 0 and at most 1")
    return text.strip()


def _pile_dedupe_num_perm(threshold: float) -> int:
    """The scripts' own number of permutations, or 128 where datasketch refuses the threshold with it."""
    try:
        datasketch_bands(threshold, PILE_DEDUPE_NUM_PERM)
    except ParameterError:
        return DEFAULT_NUM_PERM
    return PILE_DEDUPE_NUM_PERM


def resolve_job(
    *,
    threshold: str | float | None = None,
    verify: Verify | None = None,
    keep: Keep | None = None,
    preset: Preset | None = None,
    exact: bool = False,
    normalize: Normalization | None = None,
    ngram: int | None = None,
    num_perm: int | None = None,
    seed: int | None = None,
    on_bad_record: BadRecordPolicy = "error",
    max_document_bytes: int = DEFAULT_MAX_DOCUMENT_BYTES,
    text_field: str = "text",
    source_field: str = "meta.pile_set_name",
    save_signatures: bool = False,
) -> DedupJob:
    """Fill in what is None: threshold 0.87, NFC, 5-grams, 128 permutations of seed 1, or as a preset has it.

    Raises ParameterError for values out of range or at odds with each other.
    """
    if exact:
        refused = {
            "threshold": threshold,
            "verify": verify,
            "preset": preset,
            "normalize": normalize,
            "ngram": ngram,
            "num-perm": num_perm,
            "seed": seed,
            "save-signatures": save_signatures or None,
        }
        meaningless = [f"--{name}" for name, value in refused.items() if value is not None]
        if meaningless:
            raise ParameterError(f"--exact compares whole texts: leave out {', '.join(meaningless)}")
    threshold = _threshold(str(DEFAULT_THRESHOLD if threshold is None else threshold))
    ngram = DEFAULT_NGRAM if ngram is None else ngram
    seed = DEFAULT_SEED if seed is None else seed
    for name, number, low, high in (
        ("ngram", ngram, 1, MAX_NGRAM),
        ("num_perm", num_perm, 1, MAX_NUM_PERM),
        ("seed", seed, 0, MAX_SEED),
        ("max_document_bytes", max_document_bytes, 1, None),
    ):
        if number is not None and (number < low or (high is not None and number > high)):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ParameterError(f"{name} {number}: must be {bounds}")
    if preset and verify == "exact":
        raise ParameterError(f"--preset {preset} verifies nothing: leave out --verify exact")
    resolved_verify: Verify = verify or ("none" if preset else "exact")
    perms = DEFAULT_NUM_PERM if num_perm is None else num_perm
    value = float(threshold)
    if preset == "pile-dedupe":
        if keep or save_signatures or normalize or ngram != 5:
            raise ParameterError(
                "--preset pile-dedupe keeps the last of a group and has 5-grams of its own: "
                "leave out --keep, --ngram, --normalize and --save-signatures"
            )
        if num_perm is None:
            perms = _pile_dedupe_num_perm(value)
    if exact:
        bands = Bands(1, 1)
    elif resolved_verify == "none":
        bands = datasketch_bands(value, perms)
    else:
        bands = recall_bands(value, perms)
    return DedupJob(
        method="text" if exact else "pile-dedupe" if preset == "pile-dedupe" else "minhash",
        threshold=threshold,
        verify=resolved_verify,
        keep="last" if preset == "pile-dedupe" else keep or "first",
        preset=preset,
        # A preset takes texts as its model does, as they are.
        normalize=normalize or ("none" if exact or preset else "nfc"),
        ngram=ngram,
        num_perm=perms,
        seed=seed,
        scheme="legacy" if preset == "pile-dedupe" else "affine32",
        bands=bands,
        on_bad_record=on_bad_record,
        max_document_bytes=max_document_bytes,
        text_field=text_field,
        source_field=source_field,
        save_signatures=save_signatures,
    )
