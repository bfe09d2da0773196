"""Fixtures of the cluster tests. All tests share one cluster, because its start takes a minute.

Each test leaves all machines running.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.netns_hosts import LAPTOP, missing, three_machines, wait_until
from support.ray_cluster import S3, S3_PORT, Cluster
from support.ssh_client import Laptop


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start three machines and run ``ray up`` on them."""
    if reason := missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="sparsweep-"))  # short, because the length of socket paths is limited
    try:
        with three_machines(folder) as machines:
            exports = " ".join(f"{name}={value}" for name, value in S3.items())
            laptop = Laptop(folder, machines, exports)
            laptop.up()
            started = Cluster(machines, laptop, folder / "shared", folder / "keys")
            started.wait_for_all()
            yield started
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def bucket(cluster: Cluster) -> Iterator[str]:
    """Create an empty bucket on an S3 server that only the machines of the cluster can reach."""
    boto3 = pytest.importorskip("boto3")
    command = [sys.executable, "-m", "moto.server", "-H", LAPTOP, "-p", str(S3_PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        session = boto3.session.Session("testing", "testing", region_name="us-east-1")
        wait_until(lambda: cluster.machines[0].reaches(LAPTOP, S3_PORT), "the start of the S3 server", 60)
        session.client("s3", endpoint_url=S3["AWS_ENDPOINT_URL"]).create_bucket(Bucket="sparsweep")
        yield "s3://sparsweep/runs"
    finally:
        server.kill()
        server.wait()
