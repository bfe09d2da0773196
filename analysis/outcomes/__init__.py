"""Analyses of per-sample outcomes: which samples a sparse network learns, loses and confuses, compared with dense.

Each function takes an :class:`~sparsweep.analysis.outcomes.matrix.OutcomeMatrix` of one split and the trials of
``load_trials``. It returns a tidy frame. Accuracies and shares are fractions in [0, 1].
"""
