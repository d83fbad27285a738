"""Devices: real delegates in C that work, refuse, crash, hang, idle and lie."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import libraries
import numpy as np
import pytest

from edgestem.devices import choice as devices
from edgestem.devices import coral, opening, probe
from edgestem.devices.opening import open_model
from edgestem.devices.trial import CLIP_FRAMES, clip
from edgestem.engine.separator import Separator
from edgestem.errors import ModelError
from edgestem.network import runtime
from edgestem.network.catalogue import model_path
from edgestem.network.compute import Compute
from edgestem.network.reading import read_config
from edgestem.network.sidecar import ModelConfig

HERE = Path(__file__).parent.parent
DATA = HERE / "data"
RUNTIMES = list(runtime.installed())
Build = Callable[[str], str]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function: name of a test delegate -> path of its library."""
    if libraries.why_not():
        pytest.skip(libraries.why_not())
    folder = tmp_path_factory.mktemp("delegates")
    return lambda name: libraries.build(name, folder)


@pytest.fixture
def tiny() -> ModelConfig:
    return read_config(DATA / "tiny.tflite")


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    devices._probe_once.cache_clear()
    devices._silent.clear()


def trial(config: ModelConfig, library: str, **options: str) -> probe.Trial:
    return probe.Trial(str(config.path), str(config.path), library, options, None)


# ---- the probe: every fault, every sentence ---------------------------------


@pytest.mark.parametrize("model", ["karaoke", "stage", "live"])
def test_the_clip_is_cut_as_a_song_is(model: str) -> None:
    config = read_config(model_path(model))
    calls = clip(config)
    assert len(calls) * config.group >= CLIP_FRAMES
    assert calls.shape[1:] == (
        config.frames_per_call,
        config.n_bands,
        config.n_features,
    )
    step = config.group
    assert (calls[0, step:] == calls[1, :-step]).all()
    assert calls.std(axis=(1, 2, 3)).min() > 0  # music in every one


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("model", ["tiny", "stateful1", "stateful64"])
def test_working_delegate_passes(build: Build, name: str, model: str) -> None:
    path = str(DATA / f"{model}.tflite")
    done = probe.probe(probe.Trial(path, path, build("logistic"), {}, name))
    assert done.reason == ""
    assert done.n_partitions == 1
    assert done.max_difference <= 1.5 / 256  # one step, where rounding differs
    assert done.cpu_ms > 0 and done.device_ms > 0


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("wrong", "its mask is wrong: off the CPU's by up to 1.00"),
        ("idle", "it took no part of this model"),
        ("refuse", "it refused without a word"),
        ("decline", "it refused: this model is too large for me; check its"),
        ("crash", "it crashed (SIGSEGV) while loading the delegate"),
        ("crash_late", "it crashed (SIGSEGV) while running the model"),
        ("stranger", "the library is no external TFLite delegate"),
    ],
)
def test_faulty_delegates_are_refused_with_one_sentence(
    build: Build, tiny: ModelConfig, library: str, said: str
) -> None:
    done = probe.probe(trial(tiny, build(library)))
    assert done.reason.startswith(said)
    assert "\n" not in done.reason
    assert ";" in done.reason or ": " in done.reason  # the way out


@pytest.fixture(scope="session")
def patience(build: Build) -> float:
    """Longer than a trial that works takes, here and below an emulator."""
    path, start = str(DATA / "tiny.tflite"), time.monotonic()
    probe.probe(probe.Trial(path, path, build("logistic"), {}, None))
    return 2 + 2 * (time.monotonic() - start)


@pytest.mark.parametrize(
    ("library", "stage"), [("hang", "loading"), ("hang_late", "running the model")]
)
def test_hanging_delegate_is_ended(
    build: Build, tiny: ModelConfig, library: str, stage: str, patience: float
) -> None:
    done = probe.probe(trial(tiny, build(library)), time_limit=patience)
    assert done.reason.startswith(f"it did not answer within {patience:g} s while ")
    assert stage in done.reason


def test_refusal_with_a_text_repeats_it(build: Build, tiny: ModelConfig) -> None:
    done = probe.probe(trial(tiny, build("refuse"), text="the sky is too blue"))
    assert done.reason.startswith("it refused: the sky is too blue; ")


def test_what_is_no_library(tmp_path: Path, tiny: ModelConfig) -> None:
    text = tmp_path / "lib.so"
    text.write_text("not a library\n" * 99)
    assert "damaged or no library" in probe.probe(trial(tiny, str(text))).reason
    absent = probe.probe(trial(tiny, str(tmp_path / "absent.so")))
    assert "absent; install it" in absent.reason


def test_broken_model_is_not_the_delegates_fault(build: Build, tmp_path: Path) -> None:
    job = probe.Trial(str(tmp_path / "x.tflite"), "", build("logistic"), {}, None)
    assert probe.probe(job).reason.startswith("no model file")


def test_foreign_output_does_not_confuse() -> None:
    out = b'hello\n@edgestem {"stage": "cpu"}\nINFO\xff\n@edgestem {"stage": "load"}\n'
    assert probe._messages(out)["stage"] == "load"


@pytest.mark.parametrize(
    ("number", "said"), [(4, "newer processor"), (9, "memory"), (6, "another TFLite")]
)
def test_signals_have_sentences(number: int, said: str) -> None:
    assert said in probe._verdict({"stage": "load"}, -number).reason


def test_child_that_just_ends_is_reported() -> None:
    done = probe._verdict({"stage": "start"}, 7)
    assert "the trial ended while starting Python" in done.reason


# ---- opening a device -------------------------------------------------------


def test_fall_back_is_reported(build: Build) -> None:
    name = f"delegate:{build('wrong')}"
    with pytest.warns(RuntimeWarning, match="its mask is wrong.*running on the CPU"):
        model = open_model(DATA / "tiny.tflite", Compute(device=name))
    assert model.device == "cpu"
    assert model.notes[0].startswith(f"{name}: its mask is wrong")


def test_a_device_that_is_lost_after_its_trial_is_told(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELEGATE_TEST_USB", str(tmp_path))
    name = f"delegate:{build('logistic')}"
    assert open_model(DATA / "tiny.tflite", Compute(device=name)).device == name
    (tmp_path / "unplugged").touch()
    with pytest.warns(RuntimeWarning, match="it worked when it was tried and does not"):
        model = open_model(DATA / "tiny.tflite", Compute(device=name))
    assert model.device == "cpu"
    assert "\n" not in model.notes[0]
    with pytest.raises(ModelError, match="still plugged in") as caught:
        open_model(DATA / "tiny.tflite", Compute(device=name, fallback=False))
    assert caught.value.code == "device_refused"
    (tmp_path / "unplugged").unlink()
    assert open_model(DATA / "tiny.tflite", Compute(device=name)).device == name


def test_auto_goes_on_when_a_device_is_lost(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELEGATE_TEST_USB", str(tmp_path))
    (tmp_path / "unplugged").touch()
    pretend(monkeypatch, tmp_path, build("logistic"), "libarmnnDelegate.so")
    fast = probe.Probe(n_partitions=1, cpu_ms=2.0, device_ms=1.0)
    monkeypatch.setattr(devices, "_probe_once", lambda *_: fast)
    with pytest.warns(RuntimeWarning, match="armnn: it worked when.*; not used"):
        assert open_model(copy_model(tmp_path).path).device == "cpu"


def test_no_fall_back_fails(build: Build) -> None:
    with pytest.raises(ModelError, match="took no part") as caught:
        compute = Compute(device=f"delegate:{build('idle')}", fallback=False)
        open_model(DATA / "tiny.tflite", compute)
    assert caught.value.code == "device_refused"


def test_options_reach_the_delegate(build: Build) -> None:
    with pytest.raises(ModelError, match="it refused: 42 is the answer"):
        open_model(
            DATA / "tiny.tflite",
            Compute(
                device=f"delegate:{build('refuse')}",
                device_options={"text": "42 is the answer"},
                fallback=False,
            ),
        )


@pytest.mark.parametrize("model", ["tiny", "pair"])
def test_separator_runs_on_a_delegate_and_gives_the_same_stems(
    build: Build, model: str
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 0.1, (8000, 2)).astype(np.float32)
    stems = []
    for device in ("cpu", f"delegate:{build('logistic')}"):
        separator = Separator(44100, 2, model=DATA / f"{model}.tflite", device=device)
        assert separator.device == device
        stems.append(separator.push(x).vocals)
    assert np.abs(stems[0]).max() > 0
    # A mask step is 1/256.
    assert np.abs(stems[0] - stems[1]).max() < np.abs(x).max() / 64


def test_one_process_tries_a_library_once(
    build: Build, tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = devices.parse_device(f"delegate:{build('idle')}")
    first = devices.try_device(device, tiny, None)
    monkeypatch.setattr(devices, "probe", None)  # a second trial would fail
    assert devices.try_device(device, tiny, None) is first


def test_absent_libraries_say_what_to_install(tiny: ModelConfig) -> None:
    for name, said in (
        ("delegate:/nowhere/lib.so", "there is no file /nowhere/lib.so"),
        ("coral", "libedgetpu.so.1 is not installed; install libedgetpu1-std"),
    ):
        device = devices.parse_device(name)
        if devices.find_library(device) is None:
            assert devices.try_device(device, tiny, None).reason.startswith(said)


def test_coral_needs_a_compiled_model(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("refuse"), "libedgetpu.so.1")
    config = copy_model(tmp_path)
    done = devices.try_device(devices.parse_device("coral:usb"), config, None)
    assert done.reason.startswith("the model is not compiled for it: no tiny_edgetpu")


def test_silent_refusal_of_a_coral_is_explained(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("refuse"), "libedgetpu.so.1")
    monkeypatch.setattr(devices, "look", lambda: coral.Coral((), 0, (), 4096))
    config = copy_model(tmp_path, compiled=True)
    done = devices.try_device(devices.parse_device("coral"), config, None)
    assert done.reason.startswith("no Coral is plugged in")


def test_a_coral_that_was_busy_is_asked_again(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("refuse"), "libedgetpu.so.1")
    answers = [
        probe.Probe(probe.SILENT),
        probe.Probe(probe.SILENT),
        probe.Probe(),
        None,
    ]
    monkeypatch.setattr(devices, "probe", lambda *_: answers.pop(0))
    config, clock = copy_model(tmp_path, compiled=True), [0.0]
    fake = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(devices, "time", fake)
    wanted = devices.parse_device("coral")
    for now, n_left in ((1, 3), (30, 3), (32, 2), (61, 2), (63, 1), (1000, 1)):
        clock[0] = now
        done = devices.try_device(wanted, config, None)
        assert len(answers) == n_left
        assert bool(done.reason) == (n_left > 1)


def test_coral_runs_the_compiled_file(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("logistic"), "libedgetpu.so.1")
    config = copy_model(tmp_path, compiled=True)
    compiled = devices.model_for(devices.parse_device("coral"), config.path)
    assert compiled == tmp_path / "tiny_edgetpu.tflite"
    assert open_model(config.path, Compute(device="coral")).device == "coral"


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_second_network_goes_where_there_is_a_compiled_copy(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    """On the CPU without one: the first network alone may fit a Coral."""
    pretend(monkeypatch, tmp_path, build("logistic"), "libedgetpu.so.1")
    for name in ("front.tflite", "front.json", "rest.tflite", "pair.json"):
        shutil.copy(DATA / name, tmp_path)
    for name in ("front", "rest")[: 1 + is_compiled]:
        compiled = tmp_path / f"{name}_edgetpu.tflite"
        shutil.copy(tmp_path / f"{name}.tflite", compiled)
    loaded = []
    load = opening.open_interpreter

    def spy(path: Path, **options: object) -> object:
        loaded.append((path.name, bool(options.get("library"))))
        return load(path, **options)

    monkeypatch.setattr(opening, "open_interpreter", spy)
    assert (
        open_model(tmp_path / "pair.tflite", Compute(device="coral")).device == "coral"
    )
    second = ("rest_edgetpu.tflite", True) if is_compiled else ("rest.tflite", False)
    assert loaded == [("front_edgetpu.tflite", True), second]


def test_auto_takes_what_works_and_is_faster(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("logistic"), "libarmnnDelegate.so")
    config = copy_model(tmp_path)
    fast = probe.Probe(n_partitions=1, cpu_ms=2.0, device_ms=1.0)
    for done, device in ((fast, "armnn"), (probe.Probe(cpu_ms=1, device_ms=2), "cpu")):
        monkeypatch.setattr(devices, "_probe_once", lambda *_, done=done: done)
        model = open_model(config.path)
        assert model.device == device
        if device == "cpu":
            assert "slower than the CPU (2.0 ms a call against 1.0)" in model.notes[0]


def test_auto_reports_a_library_that_is_there_and_refused(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, build("crash"), "libarmnnDelegate.so")
    with pytest.warns(RuntimeWarning, match="armnn: it crashed.*; not used"):
        model = open_model(copy_model(tmp_path).path)
    assert model.device == "cpu"
    assert "it crashed" in model.notes[0]


def test_auto_skips_what_is_not_there(tiny: ModelConfig) -> None:
    opened = open_model(tiny.path)
    assert (opened.device, opened.notes) == ("cpu", ())


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("cpu", "cpu", {}),
        ("coral", "coral", {}),
        ("coral:usb", "coral", {"device": "usb"}),
        ("coral:pci:1", "coral", {"device": "pci:1"}),
        ("coral:2", "coral", {"device": ":2"}),
        ("delegate:/a/b.so", "delegate", {}),
    ],
)
def test_device_names(name: str, kind: str, options: dict[str, str]) -> None:
    device = devices.parse_device(name)
    assert (device.kind, device.options) == (kind, options)


@pytest.mark.parametrize("name", ["", "tpu", "coral:", "coral:x", "cpu:1", "gpu:0"])
def test_unknown_devices_are_refused(name: str) -> None:
    if name == "coral:":  # an empty place is no place
        assert devices.parse_device(name).options == {}
        return
    with pytest.raises(ModelError) as caught:
        devices.parse_device(name)
    assert caught.value.code == "unknown_device"


def pretend(
    monkeypatch: pytest.MonkeyPatch, folder: Path, library: str, name: str
) -> None:
    """Install a test delegate under a real one's name, where only we look."""
    (folder / "lib").mkdir()
    shutil.copy(library, folder / "lib" / name)
    monkeypatch.setattr(devices, "library_folders", lambda: iter([folder / "lib"]))


def copy_model(folder: Path, compiled: bool = False) -> ModelConfig:
    for suffix in (".tflite", ".json"):
        shutil.copy(DATA / f"tiny{suffix}", folder)
    if compiled:
        shutil.copy(DATA / "tiny.tflite", folder / "tiny_edgetpu.tflite")
    return read_config(folder / "tiny.tflite")


# ---- why a Coral is silent --------------------------------------------------


def fake_system(root: Path, *, usb: bool = False, pci: bool = False) -> None:
    if usb:
        device = root / "sys/bus/usb/devices/1-1"
        write(device, idVendor="18d1", idProduct="9302", busnum="1", devnum="7")
    if pci:
        write(root / "sys/bus/pci/devices/0", vendor="0x1ac1", device="0x089a")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_coral_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sentence(page_size: int = 4096) -> str:
        return coral.why_refused(coral.look(tmp_path, page_size))

    assert sentence().startswith("no Coral is plugged in")
    fake_system(tmp_path, pci=True)
    assert "kernel=kernel8.img" in sentence(page_size=16384)
    assert "its driver is not loaded" in sentence()
    node = tmp_path / "dev/apex_0"
    node.parent.mkdir()
    node.touch()
    assert "the Coral is busy" in sentence()
    monkeypatch.setattr(coral.os, "access", lambda *_: False)
    assert "may not open the PCIe Coral" in sentence()


def test_usb_coral_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_system(tmp_path, usb=True)
    node = tmp_path / "dev/bus/usb/001/007"
    assert coral.look(tmp_path).usb == (node,)
    assert "udev rule" in coral.why_refused(coral.look(tmp_path))
    monkeypatch.setattr(coral.os, "access", lambda *_: True)
    assert "the Coral is busy" in coral.why_refused(coral.look(tmp_path))


# ---- runtimes ---------------------------------------------------------------


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_installed_runtime_runs_a_model(name: str) -> None:
    model = open_model(DATA / "tiny.tflite", Compute(runtime=name))
    assert model.runtime.startswith(name + " ")
    model.features()[...] = 0
    model.invoke()
    assert model.mask().shape == (5, 64, 2)


def only(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Hide the packages of the other runtimes."""
    for package in {"ai_edge_litert", "tflite_runtime"} - {*packages}:
        monkeypatch.setitem(sys.modules, package, None)


def test_numpy_2_is_caught_before_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, "tflite_runtime")
    package = tmp_path / "tflite_runtime"  # from Python 3.12 on there is none
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(ModelError, match='pip install "numpy<2"') as caught:
        runtime.runtime_module()
    assert caught.value.code == "runtime_missing"


def test_no_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert runtime.installed() == {}
    with pytest.raises(ModelError, match=r"no TFLite runtime is installed; pip inst"):
        runtime.runtime_module()
    with pytest.raises(ModelError, match="no tflite-runtime is installed; pip install"):
        runtime.runtime_module("tflite-runtime")
    with pytest.raises(ModelError, match="there is no runtime 'foo': edgestem knows"):
        runtime.runtime_module("foo")


def test_runtime_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    name = RUNTIMES[0]
    package = name.replace("-", "_")
    only(monkeypatch, package)
    monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    with pytest.raises(ModelError, match=rf"{name} [0-9.]+ does not load"):
        runtime.runtime_module()


def test_a_folder_that_pip_left_behind_is_no_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite_runtime/__pycache__").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tflite_runtime", raising=False)
    only(monkeypatch, "tflite_runtime")
    assert runtime.installed() == {}


@pytest.mark.parametrize(
    ("machine", "maxsize", "python", "expected"),
    [
        ("x86_64", 2**63 - 1, (3, 11), "pip install ai-edge-litert"),
        ("aarch64", 2**63 - 1, (3, 13), "pip install ai-edge-litert"),
        ("aarch64", 2**31 - 1, (3, 11), "numpy<2"),  # 32-bit Python, 64-bit kernel
        ("armv7l", 2**31 - 1, (3, 11), "numpy<2"),
        ("armv7l", 2**31 - 1, (3, 13), "use a 64-bit system"),
    ],
)
def test_advice_knows_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    maxsize: int,
    python: tuple[int, int],
    expected: str,
) -> None:
    monkeypatch.setattr(runtime.platform, "machine", lambda: machine)
    monkeypatch.setattr(runtime.sys, "maxsize", maxsize)
    monkeypatch.setattr(runtime.sys, "version_info", (*python, 0))
    assert expected in runtime.advice()


def test_damaged_model_file_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"no flatbuffer" * 9)
    with pytest.raises(ModelError, match="cannot load"):
        runtime.open_interpreter(path)
