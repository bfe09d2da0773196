"""Trials chosen during a sweep: suggestions of Optuna, and further seeds of undecided comparisons."""
