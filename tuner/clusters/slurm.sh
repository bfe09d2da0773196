#!/bin/bash
# A sweep on a Ray cluster inside a Slurm allocation. First run `make .venv/installed` in the root of this repository, on
# a file system shared by all nodes. Then run there:  sbatch tuner/clusters/slurm.sh
# After the time limit, submit the job again to continue the sweep. Change the three marked lines.
#SBATCH --job-name=sparsweep
#SBATCH --nodes=4                                    # CHANGE: number of nodes and resources per node
#SBATCH --gpus-per-node=1 --cpus-per-task=8
#SBATCH --ntasks-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail
sweep="fig2 --set resources.gpus=0.25"               # CHANGE: sweep and options
storage=$HOME/sparsweep-runs                         # CHANGE: storage: a folder shared by all nodes

# shellcheck source=/dev/null
source .venv/bin/activate
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN                                # valid for this allocation; srun passes it to the nodes

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# First IPv4 address of the first node that others can reach: no loopback (Debian's 127.0.1.1) and no link-local address.
names='hostname --ip-address; hostname --all-ip-addresses'
known=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" bash -c "$names" | tr ' ' '\n')
address=$(grep -E '^[0-9]+(\.[0-9]+){3}$' <<< "$known" | grep -vE '^(127|169\.254)\.' | head -n 1 || true)
if [[ -z $address ]]; then
  echo "slurm.sh: ${nodes[0]} has no IPv4 address reachable by other nodes (got ${known//$'\n'/ }). Set address=... here." >&2
  exit 1
fi
port=$((20000 + SLURM_JOB_ID % 20000))               # two allocations may share a node
gpus=${SLURM_GPUS_ON_NODE:-0}
start="ray start --block --disable-usage-stats --num-cpus=$SLURM_CPUS_PER_TASK --num-gpus=$gpus"

step() { srun --nodes="$1" --ntasks="$1" --nodelist="$2" bash -c "$3" & }
step 1 "${nodes[0]}" "$start --head --node-ip-address=$address --port=$port --include-dashboard=false"
head=$!
if ((${#nodes[@]} > 1)); then
  workers=$(IFS=,; echo "${nodes[*]:1}")
  step $((${#nodes[@]} - 1)) "$workers" "nvidia-cuda-mps-control -d 2> /dev/null; $start --address=$address:$port"
fi
until ray health-check --address "$address:$port" > /dev/null 2>&1; do
  if ! kill -0 "$head" 2> /dev/null || ((SECONDS > 300)); then
    echo "slurm.sh: Ray did not start on ${nodes[0]}. See the output of its step above." >&2
    exit 1
  fi
  sleep 2
done

# The same command starts and continues a sweep. Slurm sends TERM before the time limit, which stops the sweep in order.
# shellcheck disable=SC2086 # word splitting of the sweep and its options is intended
sparsweep run $sweep --address "$address:$port" --storage "$storage" &
driver=$!
trap 'kill -TERM $driver' TERM
status=0
wait $driver || status=$?
if ((status > 128)) && kill -0 $driver 2> /dev/null; then wait $driver || status=$?; fi
exit $status                                         # also ends the steps and Ray
