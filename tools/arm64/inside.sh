#!/bin/sh
# What runs inside the arm64 userland; see run.sh.
set -eu
cd /job
if [ ! -x /venv/bin/python ]; then
    python3 -m venv /venv
fi
pip="/venv/bin/python -m pip install -q --no-index --find-links /wheels"
$pip --disable-pip-version-check "numpy<2" tflite-runtime ai-edge-litert soundfile \
    cffi pytest hypothesis "setuptools>=77" tflite
/venv/bin/python -m pip uninstall -q -y edgestem 2>/dev/null || true
$pip --disable-pip-version-check --no-build-isolation /job/edgestem-*.tar.gz
cd /tmp
/venv/bin/edgestem info
if [ -z "$SHORT" ]; then
    rm -rf /run/tests
    cp -r /job/tests /run/tests
    ln -sfn /job/native /run/native
    ln -sfn /job/models /run/models
    ln -sfn /job/tools /run/tools
    cd /run
    for file in test_spectral test_fft test_model test_lint test_runtime \
        test_separator; do
        [ -e tests/$file.py ] || continue
        /venv/bin/python -m pytest -q -p no:cacheprovider \
            --rootdir /run "tests/$file.py" || echo "FAILED: $file"
    done
fi
cd /job
# The models that come with the package, and two test nets, with both runtimes.
for model in models/*.tflite tests/data/stateful8.tflite tests/data/tiny.tflite; do
    [ -e "$model" ] || continue
    for runtime in ai-edge-litert tflite-runtime; do
        out=out/$(basename "$model" .tflite)-$runtime
        /venv/bin/edgestem separate song.wav -o "$out" --model "$model" \
            --runtime $runtime
        echo "$model" >"$out/model"
        echo $runtime >"$out/runtime"
    done
done
