#!/bin/bash
# Prepares a machine of a cluster: the package with its pinned versions, and Ray's token authentication in every shell.
# Run by the cluster files after this repository lies in ~/sparsweep; running it again changes nothing.
set -eu
environment=$HOME/sparsweep-env
if ! python3 -c 'import ensurepip' 2> /dev/null; then      # Debian and Ubuntu have it apart
  apt="sudo apt-get --yes -o DPkg::Lock::Timeout=600"       # a machine that has just started may be updating itself
  $apt update
  $apt install python3-venv
fi
python3 -m venv "$environment"                             # Python 3.11 or newer
"$environment/bin/pip" install --quiet --constraint ~/sparsweep/constraints.txt --editable "$HOME/sparsweep[cluster]"
grep -qs sparsweep-env ~/.bashrc || cat >> ~/.bashrc << 'END'
export PATH=$HOME/sparsweep-env/bin:$PATH RAY_AUTH_MODE=token
END
