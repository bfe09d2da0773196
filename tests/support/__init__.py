"""Helpers of the tests: tiny trials and datasets, fake results and devices, injected faults."""
