"""A Ray cluster on this machine: two machines with one CPU each, and a head without CPUs.

Runs as a separate process. It prints the cluster's address and process ids, and stops the cluster when its standard
input closes.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    memory = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    others = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
    cluster.wait_for_nodes()
    facts = {
        "address": cluster.address,
        "control store": cluster.head_node.all_processes["gcs_server"][0].process.pid,
        "raylets": [node.all_processes["raylet"][0].process.pid for node in others],
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
    cluster.shutdown()
