"""Export of a trained network to files that load without sparsweep, for ``sparsweep export``."""

from __future__ import annotations

from pydantic import ValidationError

from sparsweep.trainables.export import export, read_spec, to_onnx, to_torch
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.storage.artifacts import ArtifactLost
from sparsweep.trainables.storage.filesystem import atomic_write, expand_home
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.remaking import command_for

USE = """  content = torch.load({file!r}, weights_only=True)
  model.load_state_dict(content["state_dict"])       # masked weights are 0, see content["masks"]
  for name, mask in content["masks"].items():        # to train on: masks for torch.nn.utils.prune
      prune.custom_from_mask(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], mask)"""


def write(trial: str, store: Store, output: str | None, onnx: bool) -> list[str]:
    """Export a trial to a ``.pt`` file and, on request, an ONNX file. Write nothing if any conversion fails.

    Args:
        trial: Id of a finished trial.
        store: The storage.
        output: Path of the ``.pt`` file, None for the default.
        onnx: Whether to write ONNX too.

    Returns:
        Lines with the paths and an example that loads the file.

    Raises:
        UsageError: The weights or the spec are unavailable, onnx is not installed, or a path is not writable.
    """
    try:
        target = expand_home(output or f"{trial}.pt").absolute()
    except ValueError as error:
        raise UsageError(f"--output: {error}") from None
    try:
        content = export(store, trial)
        files = {target: to_torch(content)}
        if onnx:
            files[target.with_suffix(".onnx")] = to_onnx(content)
        for path, written in files.items():
            atomic_write(str(path), written)
    except ModuleNotFoundError as error:
        raise UsageError(f"--onnx: {error}") from None
    except ArtifactLost as error:
        raise UsageError(f"TRIAL {trial}: {error.problem}. Recreate them: {command_for(trial, store)}") from None
    except (ValueError, LookupError, TypeError) as error:
        why = format_error(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"TRIAL {trial}: unreadable spec: {why}. Plug-in methods need --plugin MODULE. "
            "If the result is damaged, resume its sweep to repeat the trial."
        ) from None
    except OSError as error:
        raise UsageError(f"--output {target}: not writable: {error}") from None
    lines = [f"{target}: state_dict, masks and spec of {read_spec(store, trial)}", USE.format(file=str(target))]
    return [*lines, *(f"{path}: ONNX, images -> logits" for path in files if path != target)]
