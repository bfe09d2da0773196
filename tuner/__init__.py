"""Sweeps on Ray Tune: sweep files, graph of trials and prerequisites, execution, and the ``sparsweep`` command."""
