"""Recipes of orders and what is computed on their arrays."""
