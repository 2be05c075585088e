"""Bytes here and far away: atomic writes, checked range reads, the block cache, manifests."""
