"""The figures of tools.judge.evaluate and the layouts in which it finds songs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tools.judge import metrics, report
from tools.pool import songs

RATE = 44100
needs_ffmpeg = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="needs ffmpeg: apt-get install ffmpeg"
)


def stems(seconds: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(seconds * RATE)[:, None] / RATE
    vocals = np.float32(0.2 * np.sin(2 * t) * rng.standard_normal((len(t), 2)))
    rest = np.float32(0.3 * np.cos(3 * t) * rng.standard_normal((len(t), 2)))
    return vocals, rest


def test_bsseval_is_musevals() -> None:
    """The figures are those of museval 0.4.1 (bss_eval, 1 s windows) for this."""
    rng = np.random.default_rng(0)
    n = RATE * 6
    at = np.arange(n) / RATE
    truths = [
        rng.normal(size=(n, 2)).astype(np.float32)
        * np.abs(np.sin(at * k))[:, None].astype(np.float32)
        for k in (1, 2.3)
    ]
    truths[0][RATE : 2 * RATE] = 0  # a silent second counts for neither stem
    estimates = [
        (a + 0.3 * rng.normal(size=(n, 2)) * np.linspace(0.1, 1, n)[:, None] + 0.2 * b)
        for a, b in (truths, truths[::-1])
    ]
    found = metrics.bsseval(
        tuple(truths), tuple(np.float32(e) for e in estimates), RATE
    )
    assert found == pytest.approx([10.01355979, 10.67818932], abs=1e-4)


def test_a_stem_that_never_sounds_has_no_bsseval() -> None:
    vocals, rest = stems(2)
    found = metrics.bsseval((0 * vocals, rest), (vocals, rest), RATE)
    assert np.isnan(found).all()


@pytest.mark.parametrize("left_db", [-6.0, -20.0])
def test_leakage_finds_what_was_left_and_kept(left_db: float) -> None:
    vocals, rest = stems(4)
    estimate = np.float32(10 ** (left_db / 20)) * vocals + np.float32(0.5) * rest
    found = metrics.leakage(vocals, rest, estimate, RATE)
    assert len(found["left"]) == 1 + len(metrics.BANDS_HZ)
    assert found["left"] == pytest.approx([left_db] * 6, abs=0.3)
    assert found["kept"] == pytest.approx([-6.02] * 6, abs=0.1)


def test_a_voice_alone_leaks_what_is_left_of_it() -> None:
    vocals, rest = stems(4)
    rest[: 2 * RATE] = 0
    left = metrics.leakage(vocals, rest, vocals + rest, RATE)["left"]
    assert left == pytest.approx([0] * 6, abs=0.05)


def test_leakage_goes_to_its_band() -> None:
    vocals, rest = stems(4)
    X = np.fft.rfft(vocals, axis=0)
    X[: 120 * 4] = 0
    X[500 * 4 :] = 0  # 120 to 500 Hz only
    low = np.float32(np.fft.irfft(X, axis=0))
    left = metrics.leakage(vocals, rest, rest + low, RATE)["left"]
    assert left[2] == pytest.approx(0, abs=0.4)
    assert max(left[3:]) < -25


def test_songs_without_vocals_are_measured_too() -> None:
    vocals, rest = stems(2)
    found = metrics.leakage(0 * vocals, rest, rest, RATE)
    assert np.isfinite(found["left"]).all()
    assert found["kept"] == pytest.approx([0] * 6, abs=1e-3)


def write(folder: Path, **files: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, x in files.items():
        soundfile.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")


@needs_ffmpeg
def test_layouts_of_folders(tmp_path: Path) -> None:
    vocals, rest = stems(1)
    half = np.float32(0.5) * rest
    write(tmp_path / "plain", vocals=vocals, instrumental=rest, mixture=vocals + rest)
    write(tmp_path / "musdb" / "Band - Song", vocals=vocals, drums=half, other=half,
          bass=0 * rest, mixture=vocals + rest)  # fmt: skip
    write(tmp_path / "album", One_vocals=vocals, One_instrumental=rest,
          Two_vocals=vocals, Two_instrumental=half)  # fmt: skip
    write(tmp_path / "no-song", mixture=rest)
    found = {s.name: songs.load(s) for s in songs.find(tmp_path)}
    assert set(found) == {"plain", "Band - Song", "One", "Two"}
    for name, (v, r) in found.items():
        np.testing.assert_allclose(v, vocals, atol=1e-6)
        np.testing.assert_allclose(r, half if name == "Two" else rest, atol=1e-6)


@needs_ffmpeg
def test_stem_mp4(tmp_path: Path) -> None:
    """Five streams: mixture, drums, bass, other, vocals; here lossless."""
    vocals, rest = stems(1)
    part = rest / np.float32(3)
    write(tmp_path / "in", m=vocals + rest, part=part, v=vocals)
    names = ("m", "part", "part", "part", "v")
    inputs = [a for n in names for a in ("-i", str(tmp_path / "in" / f"{n}.wav"))]
    maps = [a for i in range(5) for a in ("-map", f"{i}:a")]
    path = tmp_path / "Song.stem.mp4"
    command = ["ffmpeg", "-v", "error", *inputs, *maps, "-c:a", "alac", str(path)]
    subprocess.run(command, check=True)
    (song,) = songs.find(tmp_path)
    v, r = songs.load(song)
    np.testing.assert_allclose(v, vocals, atol=1e-3)
    np.testing.assert_allclose(r, rest, atol=1e-3)


def test_a_page_has_a_row_a_system_and_no_machine_paths() -> None:
    row = {"sdr": [1.0, 11.0], "bsseval": [2.0, float("nan")],
           "left": [-9.0] * 6, "kept": [-0.001] * 6}  # fmt: skip
    scores = {"ours": {"a": row, "b": row}, "peer": {"a": row, "b": row}}
    data = {"scores": scores, "footprint": {"ours": {"rtf": 0.01, "peak_mb": 99}},
            "extra": {}, "commands": ["python -m tools.judge.evaluate S"]}  # fmt: skip
    text = report.page(data, "page.png")
    assert "| ours | 1.00 | 11.00 | 2.00 | - | -9.0 | 0.00 | 0.0100 | 99 |" in text
    assert "| peer | 11.00 | 11.00 | 11.00 |" in text
    assert "](page.png)" in text


def test_runs_over_the_same_songs_share_a_page() -> None:
    def run(command: str, sdr: float, *names: str) -> dict:
        row = {"sdr": [sdr, sdr], "bsseval": [sdr, sdr], "left": [0.0] * 6,
               "kept": [0.0] * 6}  # fmt: skip
        return {"scores": {name: {"a": row} for name in names}, "footprint": {},
                "extra": {"rates": {name: {} for name in names}},
                "commands": [command]}  # fmt: skip

    runs = [
        run("first", 1.0, "edgestem x int8", "edgestem x float", "mixture as it is"),
        run("second", 2.0, "edgestem y int8", "mixture as it is"),
    ]
    data = report.joined(runs)
    names = ["edgestem x int8", "edgestem y int8", "edgestem x float"]
    assert list(data["scores"]) == [*names, "mixture as it is"]
    assert list(data["extra"]["rates"]) == list(data["scores"])
    text = report.page(data | {"extra": {}}, "page.png")
    assert "in these runs:\n\n```text\nfirst\nsecond\n```" in text
    assert "| mixture as it is | 2.00 | 2.00 |" in text
    runs[1]["scores"]["edgestem y int8"] = {"b": {}}
    with pytest.raises(SystemExit, match="not of the same songs"):
        report.joined(runs)
