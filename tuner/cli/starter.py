"""The commented sweep file that ``sparsweep init`` writes."""

from __future__ import annotations

import json
from pathlib import Path

from sparsweep.tuner.errors import UsageError

SCHEMA_NAME = "sparsweep.schema.json"
TEXT = """\
# yaml-language-server: $schema={schema}
#
#   sparsweep plan {file}       # what would run, and its cost
#   sparsweep run {file}        # runs what is missing
#   sparsweep figures {file}    # PNG, PDF and CSV of every figure
#
# All fields of this file: sparsweep list fields sweep

description: "Dense networks against SNIP and SET on all digits and on the hardest 30 % of them."

# Fields of every trial (sparsweep list fields trial). A list stands for each of its values, and lists multiply.
base:
  dataset: digits              # or another: sparsweep list datasets
  model: resnet8               # sparsweep list models
  recipe: digits               # a preset, or {{preset: digits, lr: 0.05}}: sparsweep list fields recipe
  difficulty: {{name: el2n, runs: 4, epoch: 2}}  # how samples are made or found hard: sparsweep list difficulties
  data_ratio: [0.3, 1.0]       # fraction of the training set, hardest samples first
  seed: [0, 1, 2]              # trials of one seed are compared in pairs

# Each grid adds its own fields. The trials of all grids run once, however often they occur.
grids:
  - sparsifier: dense          # what sparse networks are compared with
  - sparsifier: [snip, {{name: set, update_every: 2}}]   # sparsweep list sparsifiers; with a name: its fields
    sparsity: {{from: 0.5, to: 0.9, step: 0.2}}          # fraction of the weights that is zero

# What one trial occupies. More trials run at once on more CPUs or GPUs (sparsweep list fields resources).
resources:
  cpus: 1
  gpus: auto                   # a fraction of a GPU, measured; none where there is none
"""


def write_starter(path: Path) -> list[str]:
    """Write a commented sweep file, and beside it the JSON Schema that editors check it with.

    Args:
        path: Path of the sweep file.

    Returns:
        Lines that describe the files.

    Raises:
        UsageError: The file exists, or its folder is not writable.
    """
    from sparsweep.tuner.config.json_schema import sweep_schema

    schema = path.with_name(SCHEMA_NAME)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEXT.format(file=path, schema=SCHEMA_NAME))
        schema.write_text(json.dumps(sweep_schema()), encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"FILE {path}: exists already. Choose another name, or remove it.") from None
    except OSError as error:
        raise UsageError(f"FILE {path}: not writable: {error.strerror}. Choose another folder.") from None
    return [f"{path}: a sweep of 42 trials. Next: sparsweep plan {path}", f"{schema}: its schema, for editors"]
