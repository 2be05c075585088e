"""Steps of a stream copied to this machine."""
