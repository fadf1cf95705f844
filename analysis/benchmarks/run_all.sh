#!/usr/bin/env bash
# Every benchmark, one after the other; about half an hour on two idle cores.
#
#     bash analysis/benchmarks/run_all.sh DATA [VENVS]
#
# DATA holds MNIST/raw and CIFAR-10; VENVS is where peers/install.sh made the peers' environments
# (left out: without the peers). simfl's own environment must be active.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
data=$1 venvs=${2:-}

echo "== simfl against the plain loop"
python "$here/against_plain_loop.py" --data-dir "$data" --pairs 5 --executors auto
python "$here/against_plain_loop.py" --data-dir "$data" --pairs 3 --executors inline,batched,pool \
    --workloads W1,W2,W3,W5
echo "== what-if"
python "$here/whatif_cost.py" --data-dir "$data"
echo "== the network's scale"
python "$here/network_scale.py"
echo "== memory"
python "$here/memory_growth.py" --data-dir "$data"
if [ -n "$venvs" ]; then
    echo "== simfl against peers"
    python "$here/against_peers.py" --data-dir "$data" --venvs "$venvs" --repeats 3
fi
