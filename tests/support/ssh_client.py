"""A user's laptop in the network of the machines, with the cluster file, a separate home, and Ray's commands."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from support.netns_hosts import ROOT, Machine

SMALL = "--num-cpus=1 --object-store-memory=80000000"


class Laptop:
    """Runs commands of Ray and of sparsweep as a user of the cluster does, at the root of the repository.

    The cluster file is the shipped one, with three changes: its ``# CHANGE`` lines, the resources of a machine
    (``SMALL``) and the setup. Instead of an installation from the network, the machines use the environment of the
    tests, with the package that was sent to the machine.
    """

    def __init__(self, folder: Path, machines: list[Machine], extra: str = "") -> None:
        self.home = folder / "laptop"
        self.file = self.home / "cluster-local.yaml"
        self.home.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "PYTHON"))},
            "HOME": str(self.home),
            "RAY_TMPDIR": str(self.home),
            "TMPDIR": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / ".ci/names"),
        }
        self.file.write_text(yaml.safe_dump(filled_in(machines, folder / "keys" / "laptop", extra)))
        self.run("ray", "get-auth-token", "--generate")

    def start(self, *command: str, **changes: str) -> subprocess.Popen[str]:
        """Start a command. ``changes`` override environment variables."""
        environment = self.environment | changes
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def end(process: subprocess.Popen[str]) -> None:
        """Kill a command and its child processes, such as ssh."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run(self, *command: str, timeout: float = 180, check: bool = True, **changes: str) -> str:
        """Run a command and return its output."""
        process = self.start(*command, **changes)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            self.end(process)
        assert not check or process.returncode == 0, f"{' '.join(command)}: {process.returncode}\n{output}"
        return output

    def up(self) -> str:
        return self.run("ray", "up", "--yes", str(self.file))

    def down(self) -> str:
        return self.run("ray", "down", "--yes", str(self.file))

    def exec(self, command: str, **options: Any) -> str:
        """Run a command on the head and return its output."""
        return self.run("ray", "exec", str(self.file), command, **options)


def filled_in(machines: list[Machine], key: Path, extra: str) -> dict[str, Any]:
    """Return the content of the shipped ``cluster-local.yaml``, filled in for these machines."""
    head, *workers = machines
    content = yaml.safe_load((ROOT / "tuner/clusters/cluster-local.yaml").read_text())
    content["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address for worker in workers]}
    content["auth"] |= {"ssh_user": "root", "ssh_private_key": str(key)}
    profile = f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH=$HOME RAY_AUTH_MODE=token {extra}"
    content["setup_commands"] = [f"echo '{profile}' > ~/.bashrc"]
    for commands in (content["head_start_ray_commands"], content["worker_start_ray_commands"]):
        commands[-1] += f" {SMALL}"
    return content
