#!/usr/bin/env bash
# Makes a Python environment in DIR with the packages of requirements.txt.
# Usage: setup.sh DIR. DIR/bin/python pay.py ... then runs the example.
set -euo pipefail

dir=${1:?usage: setup.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --requirement "$here/requirements.txt"
