"""Search and counting in arrays of tokens and texts."""
