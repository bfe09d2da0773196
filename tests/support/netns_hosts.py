"""Three machines on one host. Each has its own network, processes, mounts, host name, home, ``/tmp/ray`` and sshd.

The module needs root and Debian's openssh-server, rsync and iproute2. The processes of a machine run in a PID namespace
whose first process is its sshd. Killing this process destroys the machine, and its processes cannot affect the host's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NETWORK = "10.201.0"
BRIDGE = "sparsweep0"
LAPTOP = f"{NETWORK}.1"
"""The host's own address on the bridge."""
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> str | None:
    """Return the reason why machines cannot run on this host, or None."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    tools = {"sshd": "openssh-server", "rsync": "rsync", "ip": "iproute2", "unshare": "util-linux", "ssh": "ssh"}
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    absent = [package for tool, package in tools.items() if shutil.which(tool, path=path) is None]
    return f"needs Debian's {', '.join(absent)}" if absent else None


def call(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=check)


def wait_until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.5)


class Machine:
    """One machine. Its disk is ``home`` (its ``/root``). It shares all other files with the host."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name, self.address = f"node{number}", f"{NETWORK}.{number}"
        self.namespace, self.cable = f"sparsweep{number}", f"sparsweep-v{number}"
        self.folder = folder / self.name
        self.home = self.folder / "home"
        self.process: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        call("ip", "netns", "add", self.namespace)
        call(*f"ip link add {self.cable} type veth peer name eth0 netns {self.namespace}".split())
        call("ip", "link", "set", self.cable, "master", BRIDGE, "up")
        address = f"addr add {self.address}/24 dev eth0"
        route = f"route add default via {LAPTOP}"  # it reaches no network, but Ray needs it to find its own address
        for command in (address, "link set eth0 up", "link set lo up", route):
            call("ip", "-n", self.namespace, *command.split())

    def unplug(self) -> None:
        call("ip", "link", "del", self.cable, check=False)
        call("ip", "netns", "del", self.namespace, check=False)

    def cut(self) -> None:
        """Disconnect the network: packets are lost without an error."""
        call("ip", "link", "set", self.cable, "down")

    def join(self) -> None:
        call("ip", "link", "set", self.cable, "up")

    def boot(self, keys: Path) -> None:
        """Start the machine with its old disk and an empty ``/tmp/ray`` and ``/dev/shm``. Return when ssh answers."""
        shutil.rmtree(self.folder / "ray", ignore_errors=True)
        for path in (self.home / ".ssh", self.folder / "ray"):
            path.mkdir(parents=True, exist_ok=True)
        (self.home / ".bashrc").touch()
        (self.folder / "sshd.conf").write_text(SSHD.format(address=self.address, keys=keys))
        (self.folder / "boot.sh").write_text(self._script())
        log = (self.folder / "log.txt").open("ab")
        isolated = ["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--mount-proc", "--kill-child", "bash"]
        command = ["ip", "netns", "exec", self.namespace, *isolated, str(self.folder / "boot.sh")]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: answers(self.address), f"sshd on {self.name}", 30)

    def _script(self) -> str:
        # Folders under the host's /root that the machine needs: the interpreter, its packages, this repository.
        seen = {Path(path).resolve() for path in (sys.base_prefix, sys.prefix, ROOT)}
        binds = [(path, self.home / path.relative_to("/root")) for path in seen if path.is_relative_to("/root")]
        lines = ["set -e", f"hostname {self.name}"]
        lines += [f"mkdir -p {inside}; mount --bind {path} {inside}" for path, inside in binds]
        lines += [
            f"mount --rbind {self.home} /root",
            f"mount --bind {self.folder / 'ray'} /tmp/ray",
            "mount -t tmpfs -o size=1g tmpfs /dev/shm",
            f"exec env -i HOME=/root PATH={SYSTEM_PATH} /usr/sbin/sshd -D -e -f {self.folder / 'sshd.conf'}",
        ]
        return "\n".join([*lines, ""])

    def reaches(self, address: str, port: int) -> bool:
        """Return whether the machine can connect to ``port`` of ``address``."""
        knock = f"exec 3<>/dev/tcp/{address}/{port}"
        return call("ip", "netns", "exec", self.namespace, "bash", "-c", knock, check=False).returncode == 0

    def destroy(self) -> None:
        """Kill all processes of the machine at once, as in a power failure."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)  # unshare, which takes the rest along
            self.process.wait()
            self.process = None

    def processes(self) -> list[str]:
        """Return the command lines of the machine's processes."""
        inside = call("ip", "netns", "pids", self.namespace).stdout.split()
        lines = []
        for pid in inside:
            with contextlib.suppress(OSError):
                lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return lines


SSHD = """
Port 22
ListenAddress {address}
HostKey {keys}/host
AuthorizedKeysFile {keys}/laptop.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
"""


def answers(address: str, port: int = 22) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def three_machines(folder: Path) -> Iterator[list[Machine]]:
    """Start machines 2, 3 and 4 of the network. The key ``folder/keys/laptop`` gives access."""
    keys = folder / "keys"
    keys.mkdir()
    for name in ("host", "laptop"):
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
    for path in ("/run/sshd", "/tmp/ray"):
        Path(path).mkdir(exist_ok=True)
    machines = [Machine(number, folder) for number in (2, 3, 4)]
    call("ip", "link", "add", BRIDGE, "type", "bridge")  # fails if another process uses it
    try:
        call("ip", "addr", "add", f"{LAPTOP}/24", "dev", BRIDGE)
        call("ip", "link", "set", BRIDGE, "up")
        for machine in machines:
            machine.unplug()  # remove leftovers of a killed run
            machine.plug_in()
            machine.boot(keys)
        yield machines
    finally:
        for machine in machines:
            machine.destroy()
            machine.unplug()
        call("ip", "link", "del", BRIDGE, check=False)
