"""One cluster for all tests of this folder: it takes a minute to bring up, and each test leaves it whole."""

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
    """Three machines on which ``ray up`` has brought up Ray."""
    if reason := missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="sparsweep-"))  # short: sockets lie below
    try:
        with three_machines(folder) as machines:
            exports = " ".join(f"{name}={value}" for name, value in S3.items())
            laptop = Laptop(folder, machines, exports)
            laptop.up()
            made = Cluster(machines, laptop, folder / "shared", folder / "keys")
            made.wait_for_all()
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def bucket(cluster: Cluster) -> Iterator[str]:
    """An empty bucket on an S3 server that the machines reach and that nobody else does."""
    boto3 = pytest.importorskip("boto3")
    command = [sys.executable, "-m", "moto.server", "-H", LAPTOP, "-p", str(S3_PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        reached = boto3.session.Session("testing", "testing", region_name="us-east-1")
        wait_until(lambda: cluster.machines[0].reaches(LAPTOP, S3_PORT), "an S3 server", 60)
        reached.client("s3", endpoint_url=S3["AWS_ENDPOINT_URL"]).create_bucket(Bucket="sparsweep")
        yield "s3://sparsweep/runs"
    finally:
        server.kill()
        server.wait()
