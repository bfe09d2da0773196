#!/bin/bash
# Prepare a node of a cluster: install the package with pinned versions and enable Ray's token authentication in shells.
# The cluster files run this script after copying the repository to ~/sparsweep. A second run changes nothing.
set -eu
environment=$HOME/sparsweep-env
if ! python3 -c 'import ensurepip' 2> /dev/null; then      # a separate package on Debian and Ubuntu
  apt="sudo apt-get --yes -o DPkg::Lock::Timeout=600"       # a new node may be updating itself
  $apt update
  $apt install python3-venv
fi
python3 -m venv "$environment"                             # Python 3.11 or newer
"$environment/bin/pip" install --quiet --constraint ~/sparsweep/constraints.txt --editable "$HOME/sparsweep[cluster]"
grep -qs sparsweep-env ~/.bashrc || cat >> ~/.bashrc << 'END'
export PATH=$HOME/sparsweep-env/bin:$PATH RAY_AUTH_MODE=token
END
