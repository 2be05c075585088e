"""Arrays to arrays: no file, no clock and no global random state."""
