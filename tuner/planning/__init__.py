"""Runs of a sweep and their state: graph of runs, estimates, status, unused files."""
