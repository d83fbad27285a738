#!/bin/sh
# What runs inside the ARM userland; see run.sh.
set -eu
failed=
cd /job
# On armhf some libraries are Debian's.
[ -x /venv/bin/python ] || python3 -m venv --system-site-packages /venv
pip="/venv/bin/python -m pip install -q --no-index --find-links /wheels"
pip="$pip --disable-pip-version-check"
# shellcheck disable=SC2086 # the lists are lists
$pip $WHEELS
[ ! -e /wheels/cffi-*.tar.gz ] || $pip --no-build-isolation "cffi>=1.16"
/venv/bin/python -m pip uninstall -q -y edgestem 2>/dev/null || true
$pip --no-build-isolation /job/edgestem-*.tar.gz
cd /tmp
/venv/bin/edgestem info
if [ -z "$SHORT" ]; then
    rm -rf /run/tests
    cp -r /job/tests /run/tests
    ln -sfn /job/native /run/native
    ln -sfn /job/models /run/models
    ln -sfn /job/tools /run/tools
    cd /run
    # Without what Debian's pytest (7.2, no plugins) does not know.
    rm -f /run/pyproject.toml
    sed -E '/^(timeout|faulthandler_exit_on_timeout|tmp_path_retention_policy) = /d' /job/pyproject.toml \
        >/run/pyproject.toml
    for part in spectrum network lint devices engine/test_separator.py; do
        /venv/bin/python -m pytest -q -p no:cacheprovider \
            "tests/$part" || failed="$failed $part"
    done
fi
cd /job
# The models that come with the package, and two test nets, with every runtime.
for model in models/*.tflite tests/data/stateful8.tflite tests/data/tiny.tflite; do
    [ -e "${model%.tflite}.json" ] || continue # the second network of a model
    for runtime in $RUNTIMES; do
        out=out/$(basename "$model" .tflite)-$runtime
        /venv/bin/edgestem separate song.wav -o "$out" --model "$model" \
            --runtime "$runtime"
        echo "$model" >"$out/model"
        echo "$runtime" >"$out/runtime"
    done
done
size=$(($(du -sk /venv | cut -f 1) / 1000))
/venv/bin/python tools/ci/cell.py /venv/bin/edgestem "sdist, compiled" second.wav second.wav \
    under=qemu-user size_mb=$size
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
