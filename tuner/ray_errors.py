"""Errors of Ray: what a worker raised, whether its node was lost, and one line about it."""

from __future__ import annotations

from ray.exceptions import ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError

_NODE_DIED = "its node has died"  # Ray keeps this in words only; its flag ``preempted`` is for announced losses


def unwrap(error: Exception) -> Exception:
    """What a worker raised, out of what Ray wrapped it in."""
    return error.cause if isinstance(error, RayTaskError) else error


def is_lost_node(error: Exception) -> bool:
    """Whether a run ended because its machine was lost, or lost to the driver."""
    if isinstance(error, RayActorError):
        return error.preempted or isinstance(error, ActorUnavailableError) or _NODE_DIED in str(error)
    return isinstance(error, NodeDiedError)


def summarize(error: Exception | None) -> str:
    """The error in one line: its class and the beginning of its message."""
    if error is None:
        return "unknown error"
    found = unwrap(error)
    lines = str(found).strip().splitlines() or [""]
    if lines[0].startswith("Traceback "):  # by Tune, of what its callbacks raise: the error comes after the frames
        frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
        return lines[min(frames[-1] + 1, len(lines) - 1)] if frames else type(found).__name__
    return f"{type(found).__name__}: {lines[0]}"
