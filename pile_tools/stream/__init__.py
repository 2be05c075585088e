"""A token dataset in an order: what lookups read."""
