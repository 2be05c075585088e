"""Near-duplicates: shingles, MinHash, LSH, components."""
