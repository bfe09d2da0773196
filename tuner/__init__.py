"""Many trials, on Ray Tune: sweep files, the graph of trials and prerequisites, execution, and the command."""
