"""What Ray reads from the environment when it is imported: how a private cluster runs, and where home is."""

from __future__ import annotations

import os
import secrets

from sparsweep.trainables.storage.filesystem import private_folder

PRIVATE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def prepare(address: str) -> None:
    """Set the environment of this process and those that it starts. What the user has set stays.

    A private cluster (``address`` is ``local``)

    * binds every server to loopback: the switch is Ray's own, for systems on which it has no clusters;
    * hands its token down in the environment, which other users cannot read. Ray would write one to
      ``~/.ray/auth_token``, readable by all, and home may be read-only;
    * has workers in this very environment. Under ``uv run`` Ray would build another one for them.

    Where no home folder is known, as in some containers, Ray cannot be imported: it gets one that can be lost.
    """
    if address == "local":
        for name, value in {**PRIVATE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
            os.environ.setdefault(name, value)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = str(private_folder())
