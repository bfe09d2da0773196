"""Sweep files: grids, search spaces, overrides, and what they mean."""
