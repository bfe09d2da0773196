"""``sparsweep export``: a finished trial's network as files for others, and how to load them."""

from __future__ import annotations

from pydantic import ValidationError

from sparsweep.trainables.export import export, read_spec, to_onnx, to_torch
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.storage.filesystem import atomic_write, expand_home
from sparsweep.trainables.storage.store import ArtifactLost, Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.remaking import command_for

USE = """  content = torch.load({file!r}, weights_only=True)
  model.load_state_dict(content["state_dict"])       # masked weights are zero; content["masks"] says which
  for name, mask in content["masks"].items():        # to train on: the masks as torch.nn.utils.prune has them
      prune.custom_from_mask(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], mask)"""


def write(trial: str, store: Store, output: str | None, onnx: bool) -> list[str]:
    """Write the files; what to say of them. Nothing is written if any of them cannot be made."""
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
        raise UsageError(f"TRIAL {trial}: {error.problem}. Make them again: {command_for(trial, store)}") from None
    except (ValueError, LookupError, TypeError) as error:
        why = format_error(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"TRIAL {trial}: its spec cannot be read: {why}. Methods of others need --plugin MODULE; "
            "a resume of its sweep makes a damaged result again."
        ) from None
    except OSError as error:
        raise UsageError(f"--output {target}: cannot be written: {error}") from None
    said = [f"{target}: state_dict, masks and spec of {read_spec(store, trial)}", USE.format(file=str(target))]
    return [*said, *(f"{path}: ONNX, images -> logits" for path in files if path != target)]
