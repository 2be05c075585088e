"""Tokenization of a corpus to a token dataset."""
