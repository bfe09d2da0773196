"""Sweep files: grids, search spaces and overrides."""
