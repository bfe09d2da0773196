"""Tests of the README's section "On a cluster": ``ray up``, sweeps, lost machines, ``ray down``.

The cluster file, the token, ssh, rsync, Ray and the command are real. The machines are network namespaces of this
host. Tests run in the order of this file: the last one stops the cluster.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.trainable import SparseTrainable
from support.cli import assert_same_results
from support.netns_hosts import call, wait_until
from support.ray_cluster import S3, Cluster, copies, dashboard, hosts, submit_and_close_the_laptop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SWEEP = "smoke --set recipe.epochs=16"
POINTS = 12


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster) -> Path:
    """Run the sweep on the complete cluster with ``ray exec``. Return its storage, a shared folder."""
    storage = cluster.shared / "undisturbed"
    cluster.laptop.exec(f"sparsweep run {SWEEP} --address auto --storage {storage}", timeout=300)
    return storage


def test_a_sweep_uses_every_machine_and_each_fetches_a_data_set_once(cluster: Cluster, undisturbed: Path) -> None:
    assert len(Store(str(undisturbed)).finished()) == POINTS
    assert hosts(undisturbed) == {machine.name for machine in cluster.machines}
    # The inputs that all trials share are Ray objects: one per argument of SparseTrainable.setup, and the images of
    # digits. Ray counts the chunks that a node receives. Each of these objects is one chunk, and only the first trial
    # on a node fetches it.
    settings = len(inspect.signature(SparseTrainable.setup).parameters) - len(("self", "config"))
    wait_until(lambda: copies(cluster) == [settings + 1] * 2, "one fetch of each object by each worker", 30)


def test_the_dashboard_is_on_loopback_and_requires_the_token(cluster: Cluster) -> None:
    head, worker = cluster.machines[:2]
    listening = call("ip", "netns", "exec", head.namespace, "ss", "-ltnH").stdout.split()
    assert "127.0.0.1:8265" in listening
    assert worker.reaches(head.address, 6379) and not worker.reaches(head.address, 8265)
    with dashboard(cluster) as address:
        command = ["ray", "job", "list", "--address", address]
        assert "auth" in cluster.laptop.run(*command, check=False, RAY_AUTH_TOKEN="0" * 32).lower()
    for token in ("RAY_AUTH_MODE=disabled", f"RAY_AUTH_TOKEN={'0' * 32}"):
        output = cluster.laptop.exec(f"{token} sparsweep run smoke --address {head.address}:6379", check=False)
        (line,) = [line for line in output.splitlines() if f"sparsweep: --address {head.address}:6379" in line]
        assert "RAY_AUTH_MODE=token" in line


def test_a_job_continues_without_the_laptop_and_a_lost_worker(cluster: Cluster, undisturbed: Path) -> None:
    storage = cluster.shared / "worker-lost"
    submit_and_close_the_laptop(cluster, storage, f"run {SWEEP}")
    assert len(Store(str(storage)).finished()) < POINTS
    lost = cluster.machines[2]
    lost.destroy()
    wait_until(lambda: len(Store(str(storage)).finished()) == POINTS, "the end of the sweep", 240)
    assert_same_results(storage, undisturbed)
    lost.boot(cluster.keys)  # the autoscaler detects the machine and starts Ray on it before later tests need it


@pytest.fixture
def full_cluster(cluster: Cluster) -> Cluster:
    """Wait until all machines have joined the cluster, and return it."""
    cluster.wait_for_all()
    return cluster


@pytest.mark.slow
def test_a_cut_link_recovers(full_cluster: Cluster, undisturbed: Path) -> None:
    storage = full_cluster.shared / "link-cut"
    submit_and_close_the_laptop(full_cluster, storage, f"run {SWEEP}")
    assert len(Store(str(storage)).finished()) < POINTS
    cut = full_cluster.machines[1]
    cut.cut()
    time.sleep(30)
    cut.join()
    wait_until(lambda: len(Store(str(storage)).finished()) == POINTS, "the end of the sweep", 240)
    assert_same_results(storage, undisturbed)
    assert not Store(str(storage)).failures()


@pytest.mark.slow
def test_a_sweep_resumes_after_the_head_is_lost_and_restarted(full_cluster: Cluster, undisturbed: Path) -> None:
    storage = full_cluster.shared / "head-lost"
    submit_and_close_the_laptop(full_cluster, storage, f"run {SWEEP}")
    assert len(Store(str(storage)).finished()) < POINTS
    head = full_cluster.machines[0]
    head.destroy()
    finished = {path: path.stat().st_mtime_ns for path in storage.glob("results/trials/*.parquet")}
    head.boot(full_cluster.keys)
    full_cluster.laptop.up()
    full_cluster.wait_for_all()
    full_cluster.laptop.exec(f"sparsweep resume smoke --address auto --storage {storage}", timeout=300)
    assert_same_results(storage, undisturbed)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.slow
def test_the_laptop_draws_figures_of_results_in_a_bucket(cluster: Cluster, bucket: str, tmp_path: Path) -> None:
    output = cluster.laptop.exec(f"sparsweep run smoke --address auto --storage {bucket}", timeout=300)
    assert "12 trials: 12 done" in output
    drawn = cluster.laptop.run("sparsweep", "figures", "smoke", "--storage", bucket, **S3)
    pictures = [line for line in drawn.splitlines() if ".png" in line]
    assert pictures and all("sparsweep/runs/figures/smoke/" in line for line in pictures)


@pytest.mark.slow
def test_ray_down_leaves_no_process_except_log_monitors(cluster: Cluster) -> None:
    cluster.laptop.down()

    def remaining() -> list[str]:
        infrastructure = ("unshare ", "sshd: ")
        return [
            line for machine in cluster.machines for line in machine.processes() if not line.startswith(infrastructure)
        ]

    # Ray stops the head. Workers exit when they lose the head, except their log monitors; the README explains how to
    # stop those.
    wait_until(lambda: all("log_monitor" in line for line in remaining()), "the end of the cluster", 240)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"]
    for worker in cluster.machines[1:]:
        stop = ["bash", "-ic", "'ray stop'"]
        cluster.laptop.run("ssh", *options, str(cluster.keys / "laptop"), f"root@{worker.address}", *stop)
    wait_until(lambda: not remaining(), "the end of the log monitors", 60)
