"""Figures of the studies."""

from pile_tools.formats.figures import figure

__all__ = ["figure"]
