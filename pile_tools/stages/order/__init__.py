"""Orders of token datasets, made and stored."""
