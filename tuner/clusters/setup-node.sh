#!/bin/bash
# Prepares a machine of a cluster: the package with its pinned versions, and Ray's token authentication in every shell.
# Run by the cluster files after this repository lies in ~/sparsweep; running it again changes nothing.
set -eu
environment=$HOME/sparsweep-env
python3 -c 'import ensurepip' || sudo apt-get install --yes python3-venv  # Debian and Ubuntu have it apart
python3 -m venv "$environment"                                            # Python 3.11 or newer
"$environment/bin/pip" install --quiet --constraint ~/sparsweep/constraints.txt --editable "$HOME/sparsweep[cluster]"
grep -qs sparsweep-env ~/.bashrc || cat >> ~/.bashrc << 'END'
export PATH=$HOME/sparsweep-env/bin:$PATH RAY_AUTH_MODE=token
END
