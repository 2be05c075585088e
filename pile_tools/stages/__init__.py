"""Files to files and a manifest: dedup, tokenize, order; resume and parallelism."""
