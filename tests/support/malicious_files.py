"""Something that a stranger could have written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Touch:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)
