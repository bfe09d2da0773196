"""A malicious object, as in a file from an untrusted source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Touch:
    """Creates a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)
