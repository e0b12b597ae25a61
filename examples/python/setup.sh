#!/usr/bin/env bash
# Makes a Python environment in DIR with the packages of requirements.txt, and generates the client from the .proto files.
# Usage: setup.sh DIR. DIR/bin/python sign.py ... then runs the example.
set -euo pipefail

dir=${1:?usage: setup.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../proto

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup.sh: Python 3.11 or newer is needed" >&2; exit 1; }
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --requirement "$here/requirements.txt"
# Beside the packages, so that it is found without a path.
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$dir/bin/python" -m grpc_tools.protoc --proto_path "$proto" --proto_path "$here/.." \
    --python_out "$site" --grpc_python_out "$site" \
    "$proto"/tally/v1/{approval,signing,types}.proto "$here/../errors.proto"
