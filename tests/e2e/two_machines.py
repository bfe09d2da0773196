"""A Ray cluster of two machines on this one, a CPU each: prints where it is and which processes it is made of.

Run as a process of its own; ends, with all it started, when its standard input does.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    other = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    cluster.wait_for_nodes()
    facts = {
        "address": cluster.address,
        "control store": cluster.head_node.all_processes["gcs_server"][0].process.pid,
        "other raylet": other.all_processes["raylet"][0].process.pid,
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
    cluster.shutdown()
