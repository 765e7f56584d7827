#!/bin/sh
# Makes and unmakes what the Makefile needs, with nothing but a Python >= 3.11 at hand.
#   bootstrap.sh            install the locked environment into .venv (uv goes into .uv if missing)
#   bootstrap.sh uv ...     run uv
#   bootstrap.sh launcher   write ./scrubjay
#   bootstrap.sh clean      remove all of it
set -eu
cd "$(dirname "$0")/.."

# The first Python that runs and is new enough; a name that exists may still not run (pyenv).
find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "error: Scrubjay needs Python 3.11 or newer; install it (https://www.python.org/downloads/, or python3.11 and python3-venv from your system's packages) and try again" >&2
    exit 1
}

find_uv() {
    if [ -x .uv/bin/uv ]; then
        echo .uv/bin/uv
    elif command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
        echo uv
    else
        python=$(find_python)
        echo "installing uv into .uv" >&2
        "$python" -m venv .uv >&2 || {
            echo "error: could not make a virtual environment with $python; on Debian and Ubuntu install python3-venv" >&2
            exit 1
        }
        .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9' >&2
        echo .uv/bin/uv
    fi
}

install() {
    uv=$(find_uv)
    # uv would fetch an interpreter of its own where the default one is too old: name ours instead.
    if [ -z "${UV_PYTHON:-}" ] && [ ! -x .venv/bin/python ]; then
        UV_PYTHON=$(command -v "$(find_python)")
        export UV_PYTHON
    fi
    echo "installing Scrubjay into .venv"
    # Compiled here, once: an interpreter told to write no bytecode would compile at every start.
    "$uv" sync --frozen --quiet --no-python-downloads --compile-bytecode
    .venv/bin/python -m compileall -q api bots cli engine ingestion mcp_server vespa_app
}

# The launcher keeps the data folder it was made with, so that `./scrubjay ask` in another terminal
# finds what `make up` made; SCRUBJAY_HOME still wins where it is set.
launcher() {
    clone=$(pwd -P)
    case "${SCRUBJAY_HOME:-}" in
    "") home=$clone/.scrubjay ;;
    /*) home=$SCRUBJAY_HOME ;;
    *) home=$clone/$SCRUBJAY_HOME ;;
    esac
    cat >scrubjay <<LAUNCHER
#!/bin/sh
# Written by \`make up\`: runs this clone's Scrubjay on the data folder it was started with.
SCRUBJAY_HOME=\${SCRUBJAY_HOME:-$(quoted "$home")}
export SCRUBJAY_HOME
exec $(quoted "$clone/.venv/bin/scrubjay") "\$@"
LAUNCHER
    chmod +x scrubjay
}

quoted() {
    printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

is_free() {
    "$(find_python)" - "$1" <<'PROBE'
import fcntl, sys
with open(sys.argv[1], "a") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(1)
PROBE
}

# Only what was made inside the clone goes; a data folder elsewhere is somebody's data.
clean() {
    clone=$(pwd -P)
    case "${SCRUBJAY_HOME:-$clone/.scrubjay}" in
    "$clone"/.scrubjay | "$clone"/.scrubjay/) ;;
    *) echo "kept the data folder $SCRUBJAY_HOME: it is not this clone's .scrubjay; remove it yourself if you mean to" ;;
    esac
    # A running server or worker holds its lock file until it ends, however it ends.
    for lock in .scrubjay/server.lock .scrubjay/worker.lock; do
        if [ -f "$lock" ] && ! is_free "$lock"; then
            echo "error: Scrubjay is running on .scrubjay; stop it with Ctrl-C first" >&2
            exit 1
        fi
    done
    rm -rf .scrubjay scrubjay .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage dist .vespa-oracle
    find . -type d -name __pycache__ -prune -exec rm -rf {} +
    echo "removed the environment, the caches, the launcher and the data folder of this clone"
}

case "${1:-install}" in
install) install ;;
uv) shift; uv=$(find_uv); exec "$uv" "$@" ;;
launcher) launcher ;;
clean) clean ;;
*) echo "error: no such task: $1" >&2; exit 2 ;;
esac
