#!/bin/bash
# Prepares a machine of a cluster: the package with its pinned versions, and Ray's token authentication in every shell.
# Run by the cluster files after this repository lies in ~/sparsweep; running it again changes nothing.
set -eu
python3 -m venv ~/sparsweep-env                                          # Python 3.11 or newer
~/sparsweep-env/bin/pip install --quiet --constraint ~/sparsweep/constraints.txt --editable ~/sparsweep[cluster]
grep -qs sparsweep-env ~/.bashrc || cat >> ~/.bashrc <<'END'
export PATH=$HOME/sparsweep-env/bin:$PATH RAY_AUTH_MODE=token
END
