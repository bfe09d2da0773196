"""Benchmarks of devices: training throughput, and the number of trials that share a GPU."""
