"""Cluster files in the package: checked with Ray's schema, AWS settings, KubeRay's fields and the bash parser."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import NodeState, NodeStatus, ResourceRequestByCount
from ray.core.generated.instance_manager_pb2 import Instance

ROOT = Path(__file__).parent.parent.parent
CLUSTERS = ROOT / "tuner/clusters"
RAY_FILES = {"aws": ROOT / "cluster.yaml", "local": CLUSTERS / "cluster-local.yaml"}
SHIPPED = [*RAY_FILES.values(), *sorted(CLUSTERS.iterdir())]
TO_CHANGE = {"cluster.yaml": 3, "cluster-local.yaml": 3, "kuberay.yaml": 3, "slurm.sh": 3}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# Ray files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_ray_accepts_the_file(path: Path) -> None:
    validate_config(prepare_config(read(path)))


def test_files_have_no_keys_that_ray_ignores() -> None:
    aws, local = (read(path) for path in RAY_FILES.values())
    assert aws["cluster_name"] == local["cluster_name"] == "sparsweep"
    assert aws["provider"].keys() == {"type", "region", "cache_stopped_nodes"}
    assert local["provider"].keys() == {"type", "head_ip", "worker_ips"}
    allowed = {"resources", "node_config", "min_workers", "max_workers"}
    assert all(kind.keys() <= allowed for kind in aws["available_node_types"].values())


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_file_mounts_are_the_files_of_an_installation(path: Path) -> None:
    mounts = read(path)["file_mounts"]
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert all((ROOT / source).exists() and target == f"~/sparsweep/{source}" for target, source in mounts.items())
    project = (ROOT / "pyproject.toml").read_text()
    packages = {name.partition(".")[0] for name in re.findall(r'"([a-z.]+)"', project.partition("packages = [")[2])}
    assert set(mounts.values()) >= {"trainables", "tuner", "analysis", "pyproject.toml", "constraints.txt", "README.md"}
    assert packages & {"trainables", "tuner", "analysis"} <= set(mounts.values())
    assert read(path)["setup_commands"] == ["bash ~/sparsweep/tuner/clusters/setup-node.sh"]


@pytest.mark.parametrize("path", RAY_FILES.values(), ids=RAY_FILES)
def test_dashboard_is_on_loopback_and_mps_starts_before_ray(path: Path) -> None:
    file = read(path)
    assert "--dashboard-host=127.0.0.1" in file["head_start_ray_commands"][-1]
    stop, mps, start = file["worker_start_ray_commands"]
    assert (stop, start.partition("--address=")[2].split()[0]) == ("ray stop", "$RAY_HEAD_IP:6379")
    # The guarded line succeeds on a machine without MPS.
    assert "nvidia-cuda-mps-control -d" in mps
    assert subprocess.run(["bash", "-c", mps], env={"PATH": "/nowhere"}, executable="/bin/bash").returncode == 0


def test_both_ray_files_prepare_a_machine_equally() -> None:
    aws, local = (read(path) for path in RAY_FILES.values())
    assert all(aws[key] == local[key] for key in ("file_mounts", "rsync_exclude", "setup_commands"))


# User changes and secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.name in TO_CHANGE], ids=lambda path: path.name)
def test_lines_to_change_are_marked(path: Path) -> None:
    assert len(re.findall(r"# CHANGE", path.read_text())) == TO_CHANGE[path.name]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_files_contain_no_secrets_and_no_open_ports(path: Path) -> None:
    text = path.read_text()
    assert "0.0.0.0" not in text and "::/0" not in text
    assert not re.search(r"AKIA[0-9A-Z]{16}|aws_secret|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{32}", text, re.IGNORECASE)
    assert not re.search(r"AUTH_TOKEN\s*[=:]\s*['\"]?[A-Za-z0-9]", text)
    assert "RAY_AUTH_MODE=disabled" not in text


def test_ssh_range_must_be_stated_and_narrow() -> None:
    pattern = re.search(r"AllowedPattern: (.*)", (CLUSTERS / "aws-account.yaml").read_text())
    assert pattern is not None
    assert re.fullmatch(pattern[1], "203.0.113.7/32") and re.fullmatch(pattern[1], "203.0.0.0/16")
    assert not any(re.fullmatch(pattern[1], wide) for wide in ("0.0.0.0/0", "10.0.0.0/8", "203.0.113.7"))


# Nodes that the autoscaler requests ---------------------------------------------------------------------------------


def requested_nodes(*trials: dict[str, float]) -> dict[str, int]:
    """Return the number of nodes by type that Ray's autoscaler launches for pending trials if only the head runs."""
    config = AutoscalingConfig(prepare_config(read(RAY_FILES["aws"])), skip_content_hash=True)
    head = AutoscalerInstance(
        im_instance=Instance(instance_type="head", status=Instance.RAY_RUNNING, instance_id="0", node_id="0"),
        ray_node=NodeState(ray_node_type_name="head", node_id=b"0", status=NodeStatus.RUNNING),
        cloud_instance_id="0",
    )
    # Tune requests one placement group with one bundle per trial.
    requests = [ResourceRequestUtil.make(trial) for trial in trials]
    request = SchedulingRequest(
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_nodes(),
        disable_launch_config_check=True,
        resource_requests=[ResourceRequestByCount(request=trial, count=1) for trial in requests],
        current_instances=[head],
    )
    reply = ResourceDemandScheduler().schedule(request)
    return {launch.instance_type: launch.count for launch in reply.to_launch}


def test_gpu_trials_request_gpu_nodes() -> None:
    assert requested_nodes() == {}
    assert requested_nodes({"CPU": 1, "GPU": 1}) == {"small_gpu": 1}
    assert requested_nodes(*4 * [{"CPU": 1, "GPU": 0.25}]) == {"small_gpu": 1}  # four trials share one GPU
    assert requested_nodes(*5 * [{"CPU": 1, "GPU": 0.25}]) == {"small_gpu": 2}
    assert requested_nodes(*3 * [{"CPU": 2, "GPU": 1}]) == {"small_gpu": 3}


def test_trials_with_many_threads_request_the_large_node() -> None:
    assert requested_nodes({"CPU": 12, "GPU": 1}) == {"large_gpu": 1}


def test_requested_nodes_are_limited_by_max_workers() -> None:
    assert sum(requested_nodes(*20 * [{"CPU": 1, "GPU": 1}]).values()) == read(RAY_FILES["aws"])["max_workers"]


# Kubernetes and Slurm -----------------------------------------------------------------------------------------------


def test_kuberay_file_has_the_fields_of_a_ray_job() -> None:
    job = read(CLUSTERS / "kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() <= {
        "entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }  # fmt: skip
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"} and cluster["enableInTreeAutoscaling"] is True
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None and cluster["rayVersion"] == pinned[1]
    assert f"rayproject/ray:{pinned[1]}-" in (CLUSTERS / "Dockerfile").read_text()
    (workers,) = cluster["workerGroupSpecs"]
    assert workers.keys() >= {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert (workers["minReplicas"], workers["replicas"]) == (0, 0)
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container.keys() == {"name", "image", "env", "resources"}
        assert container["env"] == [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert pod["restartPolicy"] == "Never"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert job["spec"]["entrypoint"].startswith("sparsweep run ")


@pytest.mark.parametrize("path", sorted(CLUSTERS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_setup_of_a_node_can_be_repeated(tmp_path: Path) -> None:
    for tool in ("tools/python3", "sparsweep-env/bin/pip"):
        path = tmp_path / tool
        path.parent.mkdir(parents=True)
        path.write_text('#!/bin/bash\necho "$@" >> $HOME/calls\n')
        path.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/tools:{os.environ['PATH']}"}
    for _ in range(2):
        subprocess.run(["bash", str(CLUSTERS / "setup-node.sh")], env=environment, check=True)
    venv, sources = f"-m venv {tmp_path}/sparsweep-env", tmp_path / "sparsweep"
    pip = f"install --quiet --constraint {sources}/constraints.txt --editable {sources}[cluster]"
    assert (tmp_path / "calls").read_text().splitlines() == ["-c import ensurepip", venv, pip] * 2
    profile = (tmp_path / ".bashrc").read_text()
    assert profile == "export PATH=$HOME/sparsweep-env/bin:$PATH RAY_AUTH_MODE=token\n"


def test_setup_of_a_node_waits_for_the_package_manager(tmp_path: Path) -> None:
    """The script waits for the lock and updates the package lists first."""
    tools, calls_file = tmp_path / "tools", tmp_path / "calls"
    tools.mkdir()
    (tools / "python3").write_text(
        '#!/bin/bash\n[[ "$*" == *ensurepip* ]] && exit 1\nmkdir -p "${@: -1}/bin"\n'
        'printf "#!/bin/bash\\n" > "${@: -1}/bin/pip"; chmod +x "${@: -1}/bin/pip"\n'
    )
    (tools / "sudo").write_text('#!/bin/bash\necho "$*" >> "$CALLS"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls_file)}
    subprocess.run(["bash", str(CLUSTERS / "setup-node.sh")], env=environment, check=True)
    assert calls_file.read_text().splitlines() == [
        f"apt-get --yes -o DPkg::Lock::Timeout=600 {task}" for task in ("update", "install python3-venv")
    ]


STUB = """#!/bin/bash
printf '%s %s\\n' "$(basename "$0")" "$*" >> "$CALLS"
case $(basename "$0") in
  scontrol) printf 'n%s\\n' 1 2 3 ;;
  srun) [[ $* == *hostname* ]] && echo "$ADDRESSES" || true
        [[ $* == *--head* && -n ${HEAD_DIES:-} ]] && exit 1
        [[ $* == *--head* ]] && sleep 5 || true ;;
  ray) [[ -z ${HEAD_DIES:-} ]] ;;
  sparsweep) exit 1 ;;
esac
"""


def run_slurm(tmp_path: Path, **settings: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run slurm.sh with stub commands. Return the finished process and the sorted calls of the stubs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    for name in ("scontrol", "srun", "ray", "sparsweep"):
        (tools / name).write_text(STUB)
        (tools / name).chmod(0o755)
    calls_file = tmp_path / "calls"
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}", "HOME": "/shared", "CALLS": str(calls_file),
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8", "SLURM_GPUS_ON_NODE": "1", "ADDRESSES": "10.0.0.1", **settings,
    }  # fmt: skip
    script = ["bash", str(CLUSTERS / "slurm.sh")]
    process = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    return process, sorted(calls_file.read_text().splitlines())


@pytest.mark.parametrize(
    "addresses", ["10.0.0.1", "fe80::a00:27ff:fe4e:66a1 10.0.0.1", "127.0.1.1 10.0.0.1 192.168.0.1"]
)
def test_slurm_starts_head_and_workers_and_exits_with_the_code_of_the_sweep(addresses: str, tmp_path: Path) -> None:
    process, calls = run_slurm(tmp_path, ADDRESSES=addresses)
    assert process.returncode == 1, process.stderr  # exit code of the sweep, in which some trials failed
    start = "ray start --block --disable-usage-stats --num-cpus=8 --num-gpus=1"
    head = f"{start} --head --node-ip-address=10.0.0.1 --port=20007 --include-dashboard=false"
    assert f"srun --nodes=1 --ntasks=1 --nodelist=n1 bash -c {head}" in calls
    (workers,) = [line for line in calls if "--nodelist=n2,n3" in line]
    assert workers.startswith("srun --nodes=2 --ntasks=2 ") and workers.endswith(f"{start} --address=10.0.0.1:20007")
    assert [line for line in calls if line.startswith("sparsweep")] == [
        "sparsweep run fig2 --set resources.gpus=0.25 --address 10.0.0.1:20007 --storage /shared/sparsweep-runs"
    ]


@pytest.mark.parametrize("addresses", ["127.0.1.1", "::1", "fe80::1 169.254.0.7", ""])
def test_slurm_exits_if_a_node_has_no_reachable_address(addresses: str, tmp_path: Path) -> None:
    process, calls = run_slurm(tmp_path, ADDRESSES=addresses)
    assert process.returncode == 1 and not [line for line in calls if line.startswith("ray")]
    assert (
        process.stderr.count("\n") == 1
        and "slurm.sh: n1 has no IPv4 address reachable by other nodes" in process.stderr
    )


def test_slurm_exits_if_the_head_fails(tmp_path: Path) -> None:
    process, calls = run_slurm(tmp_path, HEAD_DIES="yes")
    assert process.returncode == 1 and not [line for line in calls if line.startswith("sparsweep")]
    assert "slurm.sh: Ray did not start on n1" in process.stderr
