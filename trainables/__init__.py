"""Trials in PyTorch: their specs (``specs``), their execution (``training``, ``runs``) and their outputs (``storage``).

Only ``trainables.trainable`` imports Ray. All other modules need only PyTorch.
"""
