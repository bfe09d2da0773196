"""One trial, in PyTorch: what it is (``spec``), what it does (``training``), what it leaves behind (``store``).

Only ``trainables.trainable`` imports Ray; everything else runs wherever PyTorch runs.
"""
