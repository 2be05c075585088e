"""Figures, tables and coloured documents."""
