"""The cluster files as they are shipped: against Ray's own schema, AWS's shape, KubeRay's fields and bash's syntax."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent.parent
CLUSTERS = ROOT / "tuner/clusters"
RAY_FILES = {"aws": ROOT / "cluster.yaml", "local": CLUSTERS / "cluster-local.yaml"}
SHIPPED = [*RAY_FILES.values(), *sorted(CLUSTERS.iterdir())]
TO_CHANGE = {"cluster.yaml": 3, "cluster-local.yaml": 3, "kuberay.yaml": 3, "slurm.sh": 3}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# What Ray checks, and what it does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_ray_accepts_the_file(path: Path) -> None:
    validate_config(prepare_config(read(path)))


def test_nothing_is_named_that_ray_would_ignore() -> None:
    aws, local = (read(path) for path in RAY_FILES.values())
    assert aws["cluster_name"] == local["cluster_name"] == "sparsweep"
    assert aws["provider"].keys() == {"type", "region", "cache_stopped_nodes"}
    assert local["provider"].keys() == {"type", "head_ip", "worker_ips"}
    known = {"resources", "node_config", "min_workers", "max_workers"}
    assert all(kind.keys() <= known for kind in aws["available_node_types"].values())


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_what_is_sent_is_what_an_installation_needs(path: Path) -> None:
    sent = read(path)["file_mounts"]
    assert sent.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert all((ROOT / source).exists() and target == f"~/sparsweep/{source}" for target, source in sent.items())
    project = (ROOT / "pyproject.toml").read_text()
    rooms = {name.partition(".")[0] for name in re.findall(r'"([a-z.]+)"', project.partition("packages = [")[2])}
    assert set(sent.values()) >= {"trainables", "tuner", "analysis", "pyproject.toml", "constraints.txt", "README.md"}
    assert rooms & {"trainables", "tuner", "analysis"} <= set(sent.values())
    assert read(path)["setup_commands"] == ["bash ~/sparsweep/tuner/clusters/setup-node.sh"]


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_the_dashboard_stays_on_loopback_and_mps_comes_before_ray(path: Path) -> None:
    file = read(path)
    assert "--dashboard-host=127.0.0.1" in file["head_start_ray_commands"][-1]
    stop, mps, start = file["worker_start_ray_commands"]
    assert (stop, start.partition("--address=")[2].split()[0]) == ("ray stop", "$RAY_HEAD_IP:6379")
    # On a machine without it the guarded line succeeds, as its shell does.
    assert "nvidia-cuda-mps-control -d" in mps
    assert subprocess.run(["bash", "-c", mps], env={"PATH": "/nowhere"}, executable="/bin/bash").returncode == 0


def test_both_ray_files_do_the_same_on_a_machine() -> None:
    aws, local = (read(path) for path in RAY_FILES.values())
    assert all(aws[key] == local[key] for key in ("file_mounts", "rsync_exclude", "setup_commands"))


# What a user changes, and what must never be in a file --------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.name in TO_CHANGE], ids=lambda path: path.name)
def test_lines_to_change_are_marked_and_few(path: Path) -> None:
    assert len(re.findall(r"# CHANGE", path.read_text())) == TO_CHANGE[path.name]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_secrets_and_no_open_doors(path: Path) -> None:
    text = path.read_text()
    assert "0.0.0.0" not in text and "::/0" not in text
    assert not re.search(r"AKIA[0-9A-Z]{16}|aws_secret|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{32}", text, re.IGNORECASE)
    assert not re.search(r"AUTH_TOKEN\s*[=:]\s*['\"]?[A-Za-z0-9]", text)
    assert "RAY_AUTH_MODE=disabled" not in text
