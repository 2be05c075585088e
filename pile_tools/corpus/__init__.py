"""Documents in and out of the shards of a corpus."""
