"""Figures as bytes. The same figure gives the same bytes: no dates and no library versions in the files."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import style


def png(figure: Figure) -> bytes:
    return _render(figure, "png", dpi=style.DPI, metadata={"Software": None})


def pdf(figure: Figure) -> bytes:
    """Vector graphics with embedded TrueType fonts."""
    return _render(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


def _render(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
