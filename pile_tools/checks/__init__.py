"""Checks of every file that the project writes."""
