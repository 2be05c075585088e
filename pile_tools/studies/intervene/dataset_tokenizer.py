"""The tokenizer of a token dataset, for text that is written into its stream."""

import numpy as np
import tokenizers

from pile_tools.errors import DataError, MismatchError, ParameterError
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.tokenizer import TOKENIZER_NAME, read_tokenizer

__all__ = ["dataset_tokenizer"]


def dataset_tokenizer(dataset: TokenDataset, path: str | None) -> tokenizers.Tokenizer:
    """Load the tokenizer at ``path``, or that beside ``dataset``; no special token is read out of text.

    Raises ParameterError where there is no tokenizer, MismatchError for one that did not make the dataset
    and DataError for ids that do not fit its dtype.
    """
    store = dataset.store
    if path is None:
        if store.path is None or not (store.path / TOKENIZER_NAME).is_file():
            raise ParameterError(
                f"{store.name}/{TOKENIZER_NAME}: no tokenizer beside the dataset; give one with --tokenizer"
            )
        path = str(store.path / TOKENIZER_NAME)
    file = read_tokenizer(path, allow_id_gaps=True)
    manifest = dataset.manifest
    if manifest is not None and manifest.parameters["tokenizer"]["sha256"] != file.sha256:
        raise MismatchError(
            f"{file.path}: SHA-256 {file.sha256[:12]}…, but the token dataset was made with another; "
            "give the tokenizer that made it"
        )
    if file.max_id > np.iinfo(dataset.dtype).max:
        raise DataError(f"{file.path}: ids up to {file.max_id} do not fit the dataset's dtype")
    loaded = tokenizers.Tokenizer.from_buffer(file.content)
    loaded.no_truncation()
    loaded.no_padding()
    loaded.encode_special_tokens = True
    return loaded
