#!/bin/sh
# Compile a model for a Coral: `sh tools/ci/compile_edgetpu.sh models/NAME.tflite`.
# Needs Google's edgetpu_compiler (x86-64 Debian package, closed source); writes
# NAME_edgetpu.tflite beside the model, where --device coral looks for it.
set -eu
command -v edgetpu_compiler >/dev/null || {
    echo "no edgetpu_compiler here: see docs/hardware.md" >&2
    exit 1
}
exec edgetpu_compiler -s -o "$(dirname "$1")" "$1"
