"""Runs from their start to the files that they write: trials, snapshots, scoring runs, corruptions."""
