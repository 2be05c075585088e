"""``tokenizer.json``: from a file or from the Hub, and back from tokens to text."""

from pathlib import Path
from typing import Any, Final

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.manifest import sha256_file

__all__ = ["TOKENIZER_NAME", "find_tokenizer", "load_tokenizer"]

TOKENIZER_NAME: Final = "tokenizer.json"


def find_tokenizer(name: str | Path) -> Path:
    """Return the path of the tokenizer ``name``: a file, or the id of a Hub repository (then cached).

    Raises ParameterError for what is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(str(name), TOKENIZER_NAME))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ParameterError(
            f"tokenizer {str(name)!r}: no such file, and not to be had from the Hub ({reason}); "
            f"give the path of a {TOKENIZER_NAME}"
        ) from None


def load_tokenizer(path: Path, sha256: str | None = None) -> Any:
    """Load ``tokenizer.json``; DataError where it cannot be read or its hash is not ``sha256``."""
    from tokenizers import Tokenizer

    if sha256 is not None and (found := sha256_file(path)) != sha256:
        raise DataError(
            f"{path}: SHA-256 {found[:12]}…, but the token dataset was made with {sha256[:12]}…; "
            "give the tokenizer that made it"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"{path}: not a tokenizer ({error})") from None
