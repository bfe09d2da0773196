"""Environment variables that Ray reads at import: settings of a private cluster, and the home folder."""

from __future__ import annotations

import os
import secrets

from sparsweep.trainables.storage.filesystem import private_folder

PRIVATE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def prepare(address: str) -> None:
    """Set the environment variables of this process and its children. Variables that the user has set are kept.

    A private cluster (``address`` is ``local``):

    * binds all servers to loopback. Ray's switch for it is meant for systems without cluster support.
    * passes its token in the environment, which other users cannot read. Ray itself would write the token to
      ``~/.ray/auth_token``, readable by all users, and the home folder may be read-only.
    * runs workers in the current Python environment. Under ``uv run`` Ray would build another environment.

    Without a home folder, as in some containers, Ray cannot be imported. Then ``HOME`` is a temporary folder.
    """
    if address == "local":
        for name, value in {**PRIVATE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
            os.environ.setdefault(name, value)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = str(private_folder())
