"""Figures of the studies."""

from pile_tools.render.figures import figure

__all__ = ["figure"]
