"""Descriptions of a dataset for the Hub and Croissant."""
