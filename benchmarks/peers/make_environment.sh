#!/usr/bin/env bash
# make_environment.sh FOLDER: an environment of its own for the peers that the judge compares with.
#
# pytorch-lifestream 0.6.0 brings pandas 3, and Feast keeps this project below it.
# Afterwards `export USERBERT_PEERS=FOLDER` lets `userbert evaluate downstream` use the rival coles.
set -euo pipefail
folder=${1:?name the folder: make_environment.sh FOLDER}
"${PYTHON:-python3.11}" -m venv "$folder"
"$folder/bin/pip" install --quiet "pytorch-lifestream==0.6.0"
"$folder/bin/python" -c "import ptls, torch; print('pytorch-lifestream with torch', torch.__version__)"
echo "export USERBERT_PEERS=$folder"
