"""What the devices can do: training throughput, and how many trials share a GPU."""
