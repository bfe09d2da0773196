"""The ``sparsweep`` command."""
