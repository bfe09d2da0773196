"""What a sweep consists of and what of it is missing: the graph of runs, estimates, status, unused files."""
