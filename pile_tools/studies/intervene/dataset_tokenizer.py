"""The tokenizer of a token dataset, for text that is written into its stream."""

import numpy as np
import tokenizers

from pile_tools.errors import DataError
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stream.document_table import Decoder

__all__ = ["dataset_tokenizer"]


def dataset_tokenizer(dataset: TokenDataset, path: str | None) -> tokenizers.Tokenizer:
    """Load the tokenizer at ``path``, or that beside ``dataset``; no special token is read out of text.

    Raises ParameterError where there is no tokenizer, MismatchError for one that did not make the dataset
    and DataError for ids that do not fit its dtype.
    """
    file = Decoder(dataset, path).file()
    if file.max_id > np.iinfo(dataset.dtype).max:
        raise DataError(f"{file.path}: ids up to {file.max_id} do not fit the dataset's dtype")
    loaded = tokenizers.Tokenizer.from_buffer(file.content)
    loaded.no_truncation()
    loaded.no_padding()
    loaded.encode_special_tokens = True
    return loaded
