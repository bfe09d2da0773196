"""The shared cluster of the cluster tests, and queries about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sparsweep.trainables.storage.store import Store
from support.netns_hosts import LAPTOP, Machine, answers, wait_until
from support.ssh_client import Laptop

S3_PORT = 5055
S3 = {
    "AWS_ENDPOINT_URL": f"http://{LAPTOP}:{S3_PORT}",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Cluster:
    """A cluster. ``machines[0]`` is the head. All machines and the laptop can access the folder ``shared``."""

    machines: list[Machine]
    laptop: Laptop
    shared: Path
    keys: Path

    def nodes(self) -> int:
        """Return the number of nodes that Ray considers alive."""
        output = self.laptop.exec("ray status 2>/dev/null", check=False)
        return sum(int(line.split()[0]) for line in output.splitlines() if line.endswith(" local.cluster.node"))

    def wait_for_all(self) -> None:
        wait_until(lambda: self.nodes() == len(self.machines), "all machines in the cluster", 240)


def hosts(storage: Path) -> set[str]:
    """Return the machines on which runs started, according to their logs."""
    return {match for log in storage.glob("logs/*.txt") for match in re.findall(r" on (node\d), ", log.read_text())}


def copies(cluster: Cluster) -> list[int]:
    """Return the number of object chunks that each worker has received in its Ray session."""
    logs = [next((machine.folder / "ray").glob("session_2*")) / "logs" for machine in cluster.machines[1:]]
    texts = [(log / "debug_state.txt").read_text() for log in logs]
    return [int(re.search(r"num chunks received total: (\d+)", text)[1]) for text in texts]  # type: ignore[index]


@contextmanager
def dashboard(cluster: Cluster, port: int = 18265) -> Iterator[str]:
    """Forward the head's dashboard to the laptop through ssh. Yield its address."""
    forwarding = cluster.laptop.start("ray", "dashboard", "--port", str(port), str(cluster.laptop.file))
    try:
        wait_until(lambda: answers("127.0.0.1", port), "a forwarded dashboard", 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        cluster.laptop.end(forwarding)


def submit_and_close_the_laptop(cluster: Cluster, storage: Path, command: str) -> None:
    """Submit the sweep as a job. Kill the client and its connection after the first trial has finished."""
    with dashboard(cluster) as address:
        job = ["ray", "job", "submit", "--address", address, "--", "sparsweep", *command.split()]
        client = cluster.laptop.start(*job, "--address", "auto", "--storage", str(storage))
        store = Store(str(storage))
        try:
            wait_until(lambda: bool(store.finished()), "a finished trial", 180)
        finally:
            cluster.laptop.end(client)
