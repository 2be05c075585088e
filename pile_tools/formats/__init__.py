"""Bytes to arrays and back: one module for each file format, each with one strict reader."""
