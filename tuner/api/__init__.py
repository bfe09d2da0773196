"""The Python interface: a sweep, its results, and the training of one trial in this process."""
