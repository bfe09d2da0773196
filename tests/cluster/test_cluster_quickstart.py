"""The complete quickstart sweep on three machines. It has a separate make target, because its trials take long."""

from __future__ import annotations

import pytest

from support.ray_cluster import Cluster, hosts

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_quickstart_runs_on_all_machines(cluster: Cluster) -> None:
    storage = cluster.shared / "quickstart"
    output = cluster.laptop.exec(f"sparsweep run quickstart --address auto --storage {storage}", timeout=1500)
    assert "57 trials: 57 done" in output
    assert hosts(storage) == {machine.name for machine in cluster.machines}
    drawn = cluster.laptop.run("sparsweep", "figures", "quickstart", "--storage", str(storage))
    assert "figures/quickstart/" in drawn
