#!/usr/bin/env bash
# Make one virtual environment per peer framework, DEST/venv_<driver's name>:
#
#     analysis/benchmarks/peers/install.sh DEST [python]
#
# Each has the torch and torchvision that simfl is tested with; every other dependency is what pip
# picks. Where only PyPI is asked, torch for Linux brings gigabytes of CUDA with it; give
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu to get the CPU build.
set -euo pipefail

dest=${1:?usage: install.sh DEST [python]}
python=${2:-python3}
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
constraints=$dest/constraints.txt
printf 'torch==2.13.0\ntorchvision==0.28.0\n' >"$constraints"

environment() {
    local name=$1
    shift
    "$python" -m venv "$dest/venv_$name"
    "$dest/venv_$name/bin/python" -m pip install --quiet --constraint "$constraints" "$@"
}

environment plain torch numpy
environment flower torch 'flwr[simulation]==1.41.0'
environment pfl 'pfl[pytorch]==0.6.0'
environment fluke torch torchvision fluke-fl==0.8.1
environment flgo torch torchvision flgo==0.4.4
environment fedlab torch torchvision fedlab==1.3.0
