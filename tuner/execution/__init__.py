"""Execution of a sweep with Ray Tune, and its monitoring."""
