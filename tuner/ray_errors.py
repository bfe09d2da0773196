"""Errors of Ray: the original exception of a worker, detection of lost nodes, and one-line summaries."""

from __future__ import annotations

from ray.exceptions import ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError

_NODE_DIED = "its node has died"  # only in Ray's message; the flag `preempted` covers announced losses


def unwrap(error: Exception) -> Exception:
    """Return the worker's exception inside Ray's wrapper."""
    return error.cause if isinstance(error, RayTaskError) else error


def is_lost_node(error: Exception) -> bool:
    """Return whether a run ended because its node died or disconnected from the driver."""
    if isinstance(error, RayActorError):
        return error.preempted or isinstance(error, ActorUnavailableError) or _NODE_DIED in str(error)
    return isinstance(error, NodeDiedError)


def summarize(error: Exception | None) -> str:
    """Return an error in one line: its class and the first line of its message."""
    if error is None:
        return "unknown error"
    cause = unwrap(error)
    lines = str(cause).strip().splitlines() or [""]
    if lines[0].startswith("Traceback "):  # Tune's text for errors of callbacks; the error follows the frames
        frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
        return lines[min(frames[-1] + 1, len(lines) - 1)] if frames else type(cause).__name__
    return f"{type(cause).__name__}: {lines[0]}"
