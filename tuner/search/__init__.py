"""Trials that are chosen while a sweep runs: by Optuna, or because a comparison needs more seeds."""
