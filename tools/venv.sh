#!/bin/sh
# Makes .venv, or brings it up to date with requirements.lock and pyproject.toml; does nothing when it already is.
# PYTHON=/path/to/python3.11 names the interpreter to use; else the distribution's is taken where it will do: it is built
# with profile-guided optimization, one compiled by hand seldom is and runs up to a third slower. Standard pip and proxy
# variables are obeyed.
set -eu
cd "$(dirname "$0")/.."
top=$(pwd -P)
system=${SYSTEM_PYTHON:-/usr/bin/python3}

say() { printf '%s\n' "$*" >&2; }

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

choose_python() {
    if [ -z "${PYTHON:-}" ] && recent_enough "$system" && can_make_venv "$system"; then
        printf '%s\n' "$system"
        return 0
    fi
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 && recent_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1 || true)
    say "Python 3.11 or newer is needed; ${PYTHON:-python3} here is: ${found:-missing}."
    say "  Debian 12, Ubuntu 24.04 or newer: sudo apt-get install python3 python3-venv"
    say "  Elsewhere: install one (pyenv, uv, your system's packages) and name it: make PYTHON=/path/to/python3.11 ..."
    return 1
}

python=$(choose_python) || exit 1

if ! can_make_venv "$python"; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "$python can't make a virtual environment: its venv or ensurepip module is missing."
    say "  Debian and Ubuntu keep them in a package of their own: sudo apt-get install python3-venv"
    say "  (for a Python beside the system's: python$version-venv)"
    exit 1
fi

# One setup at a time: a second make waits here and then finds nothing to do.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$top/.venv.lock"
    flock 9
fi

wanted=$({ printf '%s\n' "$top"; "$python" --version; cat requirements.lock pyproject.toml tools/venv.sh; } |
    "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
stamp=.venv/.made-from
[ -x .venv/bin/orchestrator ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

# A venv moved to another folder, made by a vanished or another Python, or broken half-way is made anew.
version_of() { "$1" -c 'import sys; print(sys.version)' 2>/dev/null; }
if [ "$(version_of .venv/bin/python)" != "$(version_of "$python")" ] ||
    ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
    [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" != "$top/.venv" ]; then
    say "Making .venv with $python ($("$python" --version)) ..."
    "$python" -m venv --clear .venv
fi
rm -f "$stamp"

# An environment set for the user's own pip must not turn the install away from .venv.
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH || true
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say "Installing the locked packages into .venv ..."
.venv/bin/python -m pip install --quiet --no-input --require-hashes --only-binary=:all: -r requirements.lock || {
    say "pip could not install requirements.lock. Offline or behind a proxy: set HTTPS_PROXY, PIP_INDEX_URL or PIP_FIND_LINKS, then again."
    exit 1
}
.venv/bin/python -m pip install --quiet --no-input --no-deps --no-build-isolation --no-index -e .
printf '%s\n' "$wanted" >"$stamp"
say ".venv is ready."
