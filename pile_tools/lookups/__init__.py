"""Questions to a stream, answered from the order and the tokens themselves."""
