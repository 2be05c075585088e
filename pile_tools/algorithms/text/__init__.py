"""Words of texts and their differences."""
