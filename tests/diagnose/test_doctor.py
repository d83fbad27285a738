"""doctor, devices, bench, lint: facts from fake boards, pages, comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgestem.cli.main import main
from edgestem.devices.probe import Probe
from edgestem.diagnose import bench, doctor, machine
from edgestem.diagnose.bench import Result
from edgestem.errors import EdgestemError
from edgestem.network.reading import read_config

DATA = Path(__file__).parent.parent / "data"
TINY = str(DATA / "tiny.tflite")
REFERENCES = sorted((DATA.parent.parent / "docs/benchmarks").glob("*.json"))
FILES = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32 asimddp\n"
    "CPU part\t: 0xd0b\n",
    "proc/meminfo": "MemTotal:        8245696 kB\nMemFree: 1 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/class/thermal/thermal_zone0/temp": "61234\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": (
        "50005\n"
    ),
}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_facts_of_a_raspberry_pi(board: Path) -> None:
    assert machine.board(board) == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu(board) == "0xd0b"
    assert machine.cpu_features(board) == ("asimd", "asimddp")
    assert machine.governor(board) == "ondemand"
    assert machine.temperature(board) == pytest.approx(61.234)
    assert machine.memory_mib(board) == 8052
    assert machine.throttling(board) == [
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "throttled since boot",
    ]


def test_a_machine_that_shows_nothing(tmp_path: Path) -> None:
    assert machine.board(tmp_path) == ""
    assert machine.cpu(tmp_path) != ""  # the kernel's name for it
    assert machine.cpu_features(tmp_path) == ()
    assert machine.governor(tmp_path) == ""
    assert machine.temperature(tmp_path) is None
    assert machine.throttling(tmp_path) is None
    assert machine.memory_mib(tmp_path) == 0
    assert machine.peak_rss_mib(tmp_path) == 0
    assert machine.wheel_tag("no such distribution") == ""


def test_this_machine_has_facts() -> None:
    assert machine.peak_rss_mib() > 10
    assert machine.page_size() >= 4096
    assert machine.wheel_tag("numpy").startswith("cp3")


def fake(monkeypatch: pytest.MonkeyPatch, **facts: object) -> None:
    for name, value in facts.items():
        monkeypatch.setattr(machine, name, lambda value=value: value)


def test_clock_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, governor="performance", throttling=[], temperature=50.0)
    assert str(doctor._clock()).endswith("performance, 50 °C: not throttled")
    fake(monkeypatch, governor="ondemand")
    assert doctor._clock().level == "warn"
    fake(monkeypatch, throttling=["hot now"])
    assert "more cooling" in doctor._clock().verdict


def test_board_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, memory_mib=365, page_size=16384)
    lines = {line.topic: line for line in doctor._board()}
    assert lines["board"].level == lines["pages"].level == "warn"
    assert "4 KiB pages" in lines["pages"].verdict


@pytest.mark.parametrize(
    ("done", "level", "said"),
    [
        (None, "--", "not installed"),
        (Probe("it is asleep; wake it"), "warn", "refused: it is asleep; wake it"),
        (Probe(n_partitions=1, cpu_ms=9, device_ms=2), "ok", "2.0 ms a call, CPU 9.0"),
    ],
)
def test_device_lines(done: Probe | None, level: str, said: str) -> None:
    line = doctor._device("coral", done)
    assert line.level == level
    assert said in str(line)


def test_details_are_for_verbose() -> None:
    done = Probe(n_partitions=3, cpu_ms=9, device_ms=10)
    line = doctor._device("coral", done)
    assert "3 part(s)" not in str(line)
    assert "3 part(s)" in line.in_full()
    assert "auto takes the CPU" in line.verdict
    assert "manylinux" not in str(doctor._packages())


def test_what_is_not_there_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.runtime, "installed", dict)
    assert doctor.device_lines({})[0].startswith("fail cpu ")
    monkeypatch.setattr(doctor.runtime, "version", lambda _: "")
    assert doctor._packages().level == "fail"
    assert "pip install numpy cffi soundfile" in doctor._packages().verdict
    fake(monkeypatch, cpu_features=(), governor="", throttling=None, temperature=None)
    assert doctor._features().level == doctor._clock().level == "--"


def test_a_late_model_is_not_called_fit_to_play_along(result: Result) -> None:
    fast = replace(result, rtf=0.01, call_share=0.01)
    assert "play along" in doctor._judge(fast, 0.05)[1]
    level, verdict = doctor._judge(fast, 4.2)
    assert (level, "4.2 s late" in verdict) == ("ok", True)
    assert "doctor --model live" in verdict


def test_what_the_processor_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, cpu_features=("asimd", "asimddp"))
    assert "the network's fast way" in doctor._features().verdict
    fake(monkeypatch, cpu_features=("asimd",))
    assert "no int8 dot products" in doctor._features().verdict


def test_unsupported_pythons_and_absent_programs_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert doctor._python().level == "ok"
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert doctor._python().level == "warn"
    assert "Python 3.10 to 3.14" in doctor._python().verdict
    monkeypatch.setenv("PATH", "/nowhere")
    assert "cannot be read; apt-get install ffmpeg" in doctor._programs().verdict


def test_lint_is_part_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite")
    line = doctor._edge_tpu(read_config(Path(TINY)))
    assert str(line) == (
        "ok   edgetpu      100 % of the work: clean by the published rules"
    )
    monkeypatch.setattr("edgestem.lint.graph.SCHEMAS", ())
    assert doctor._edge_tpu(read_config(Path(TINY))).found == "not checked"


def test_slow_boards_are_told(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    for rtf, share, level in (
        (0.1, 0.1, "ok"),
        (0.1, 0.96, "warn"),
        (0.8, 0.1, "warn"),
        (2.0, 0.1, "fail"),
    ):
        now = replace(result, rtf=rtf, call_share=share)
        monkeypatch.setattr(doctor, "bench", lambda *_, now=now, **__: now)
        assert doctor._speed("tiny").level == level


def test_a_slow_runtime_is_the_way_out_of_too_slow(result: Result) -> None:
    for runtime, is_named in (("tflite-runtime 2.14", True), ("ai-edge-litert", False)):
        slow = replace(result, rtf=2.0, setup=result.setup | {"runtime": runtime})
        verdict = doctor._judge(slow)[1]
        assert "--model live" in verdict
        assert ("pip install ai-edge-litert" in verdict) == is_named


def test_doctor_page(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--model", TINY])
    page = capsys.readouterr().out
    assert status == 0
    topics = "software packages programs runtime kernel board cpu clock pages model"
    for topic in (*topics.split(), "edgetpu", "coral", "armnn", "gpu", "speed"):
        assert f" {topic} " in page
    for line in page.splitlines():
        assert line.partition(": ")[2], f"no verdict: {line}"
    assert "loads and runs the model" in page
    assert str(Path.home()) not in page  # the page names no user


def test_doctor_with_a_damaged_model_fails_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "--model", str(tmp_path / "x.tflite"), "--json"])
    lines = json.loads(capsys.readouterr().out)
    assert status == 1
    failed = {line["topic"] for line in lines if line["level"] == "fail"}
    assert failed == {"model"}


def test_devices_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--model", TINY]) == 0
    assert capsys.readouterr().out.startswith("ok   cpu ")
    wanted = ["--try", "delegate:/nowhere.so", "--delegate-opt", "a=b"]
    assert main(["devices", "--model", TINY, "--json", *wanted]) == 1
    found = json.loads(capsys.readouterr().out)
    assert "there is no file" in found["delegate:/nowhere.so"]["reason"]


def test_lint_takes_names_as_all_commands_do(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tflite")
    assert main(["lint", "fast"]) == 0  # which has the network of another model
    assert capfd.readouterr().out.splitlines()[-1].startswith("karaoke.tflite: clean")
    assert main(["lint", "karaok"]) == 1
    assert "name one of best, fast, karaoke" in capfd.readouterr().err


def test_lint_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tflite")
    assert main(["lint", TINY]) == 0
    assert "clean by the published rules" in capsys.readouterr().out
    assert main(["lint", TINY, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["is_clean"] is True


# ---- bench ------------------------------------------------------------------


@pytest.fixture(scope="module")
def result() -> Result:
    return bench.bench(1.0, model=TINY, device="cpu")


def test_bench_adds_up(result: Result) -> None:
    stages = result.stages_ms
    inside = sum(stages[name] for name in bench.PARTS if name != "io")
    assert inside == pytest.approx(1000 * result.rtf, rel=0.01)
    assert all(value > 0 for value in stages.values())
    hops = result.hop_ms
    assert hops["p50"] <= hops["p95"] <= hops["p99"] <= hops["max"]
    assert hops["hop"] == pytest.approx(5.805)  # 256 samples at 44.1 kHz
    assert result.peak_rss_mib > 10
    assert result.setup["device"] == "cpu"


def test_bench_compares_both_ways(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    bench.save(result, path)
    assert bench.compare(result, path).is_alike
    slow = replace(result, rtf=result.rtf * 2)
    found = bench.compare(slow, path)
    assert found.lines == ["warning: rtf is slower: 2.00 x the reference"]
    assert not found.is_alike
    bench.save(slow, path)
    assert "rtf is faster: 0.50 x" in bench.compare(result, path).lines[0]
    other = replace(result, setup=result.setup | {"model": "other"})
    told = bench.compare(other, path).lines
    assert any(line.startswith("note: model was 'tiny ") for line in told)


@pytest.mark.parametrize("path", REFERENCES, ids=[p.stem for p in REFERENCES])
def test_committed_references_can_be_compared_with(result: Result, path: Path) -> None:
    found = bench.compare(result, path)
    assert "note: model was 'karaoke " in "\n".join(found.lines)


def test_bench_refuses_what_is_no_reference(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    for text in ("", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(EdgestemError, match="--save FILE makes one") as caught:
            bench.compare(result, path)
        assert caught.value.code == "unreadable"


def test_bench_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "reference.json"
    args = ["bench", "--model", TINY, "--seconds", "0.5", "--device", "cpu"]
    assert main([*args, "--save", str(path)]) == 0
    assert "ms per second of audio: analysis" in capsys.readouterr().out
    main([*args, "--json", "--compare", str(path)])
    setup = json.loads(capsys.readouterr().out)["setup"]
    assert setup["model"].startswith("tiny ")


def test_bench_warns_of_a_wandering_clock(result: Result) -> None:
    slow = replace(result, machine=result.machine | {"governor": "ondemand"})
    assert "times may wander" in bench.to_lines(slow)[-1]


def test_no_fallback_and_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["bench", "--model", TINY, "--device", "delegate:/no.so", "--no-fallback"]
    assert main(args) == 1
    assert "[device_refused]" in capsys.readouterr().err
    assert main(["bench", "--delegate-opt", "nonsense"]) == 2
    assert main(["bench", "--device", "toaster", "--model", TINY]) == 1
    assert "[unknown_device]" in capsys.readouterr().err


def test_survey_skips_the_cpu() -> None:
    assert doctor.survey(read_config(Path(TINY)), ("cpu",)) == {}
