"""`separate --socket` says and writes what the local run says and writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import DATA, DaemonProcess, running
from jobs import RATE, make_song, new_files, refused

from edgestem.client.files import RemoteSeparator
from edgestem.files.output import FileReport, Output
from edgestem.files.separate import FileSeparator
from edgestem.wire.protocol import Decoder, encode

pytestmark = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="ffmpeg is not installed"
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as found:
        yield found


def both(
    daemon: DaemonProcess, song: Path, **options: Any
) -> tuple[FileReport, FileReport]:
    """Separate here and there; the stems have to be the same to the byte."""
    told = Output(**options)
    local = FileSeparator(told, DATA / "tiny.tflite").to_folder(
        song, song.parent / "local"
    )
    far = RemoteSeparator(told, str(daemon.socket))
    remote = far.to_folder(song, song.parent / "remote")
    far._client.close()
    for name, path in local.outputs.items():
        if told.file_format == "ogg":  # each stream has a number by chance
            continue
        assert Path(path).read_bytes() == Path(remote.outputs[name]).read_bytes(), name
    return local, remote


def same_report(local: FileReport, remote: FileReport) -> None:
    words = ("input", "subtype", "n_samples", "n_bad_samples", "n_clipped_samples")
    words += ("n_adjusted_samples", "warnings")
    for word in words:
        assert getattr(local, word) == getattr(remote, word), word


def encoded(song: Path, name: str, *words: str) -> Path:
    target = song.with_name(name)
    line = ["ffmpeg", "-v", "error", "-i", str(song), *words, str(target)]
    subprocess.run(line, check=True)
    return target


def test_a_torn_song_and_its_tags(daemon: DaemonProcess, tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", 10)
    tags = [w for t in ("title=Ö", "artist=B", "date=1999") for w in ("-metadata", t)]
    whole = encoded(song, "s.m4a", "-c:a", "aac", *tags, "-movflags", "+faststart")
    torn = tmp_path / "torn.m4a"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    local, remote = both(daemon, torn, file_format="flac")
    same_report(local, remote)
    assert any("damaged" in text for text in remote.warnings)
    with soundfile.SoundFile(remote.outputs["vocals"]) as stem:
        assert (stem.title, stem.artist, stem.date) == ("Ö (Vocals)", "B", "1999")


def test_a_damaged_flac_is_read_past_its_damage(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    song = make_song(tmp_path / "song.flac", 6)
    data = bytearray(song.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    song.write_bytes(data)
    local, remote = both(daemon, song)
    same_report(local, remote)
    assert remote.n_samples == 6 * RATE
    assert any("all behind it is at its place" in text for text in remote.warnings)


def test_damaged_and_clipped_values_are_counted_once(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    x = np.random.default_rng(3).standard_normal((RATE, 2)).astype(np.float32)
    x[100:200] = np.nan
    soundfile.write(tmp_path / "plain.wav", x, RATE, "FLOAT")
    decoded = encoded(tmp_path / "plain.wav", "loud.mka", "-c:a", "pcm_f32le")
    for song in (tmp_path / "plain.wav", decoded):
        options = {"stems": ("vocals", "karaoke"), "vocals_db": 20.0, "subtype": "16"}
        local, remote = both(daemon, song, is_forced=True, **options)
        same_report(local, remote)
        assert remote.n_bad_samples == 200 and remote.n_clipped_samples > 0
        assert sum("were clipped" in text for text in remote.warnings) == 1


@pytest.mark.parametrize("subtype", ["keep", "24", "float"])
def test_a_lossy_song_is_decoded_as_finely_as_its_stems(
    daemon: DaemonProcess, tmp_path: Path, subtype: str
) -> None:
    song = encoded(make_song(tmp_path / "song.wav"), "song.m4a", "-c:a", "aac")
    same_report(*both(daemon, song, subtype=subtype))


@pytest.mark.parametrize("file_format", ["mp3", "ogg"])
def test_the_bit_rate_goes_along(
    daemon: DaemonProcess, tmp_path: Path, file_format: str
) -> None:
    song, sizes = make_song(tmp_path / "song.wav", 3), []
    for bitrate in (64, 320):
        options = {"file_format": file_format, "bitrate": bitrate, "is_forced": True}
        _, remote = both(daemon, song, **options)
        sizes.append(Path(remote.outputs["vocals"]).stat().st_size)
    assert sizes[1] > 1.5 * sizes[0]


def test_wrong_bit_rates_and_tags_are_refused(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    song = make_song(tmp_path / "song.wav")
    for fields in (
        {"bitrate": 320},  # wav has none
        {"bitrate": 63, "format": "mp3"},
        {"bitrate": True, "format": "mp3"},
        {"tags": []},
        {"tags": {"title": 1}},
        {"tags": {"lyrics": "la"}},
        {"tags": {"title": "x" * 1000, "artist": "x" * 1000, "album": "x" * 1000}},
    ):
        with daemon.client() as client:
            call = partial(client.separate_file, song, new_files(tmp_path), **fields)
            assert refused(call) == "bad_field", fields


def test_errors_name_the_song(daemon: DaemonProcess, tmp_path: Path) -> None:
    song = tmp_path / "high.wav"
    soundfile.write(song, np.zeros((1000, 2)), 500_000)
    line = [sys.executable, "-m", "edgestem", "separate", str(song), "-o"]
    line += [str(tmp_path / "out")]
    ways = ("--model", str(DATA / "tiny.tflite")), ("--socket", str(daemon.socket))
    ends = [
        subprocess.run([*line, *way], capture_output=True, text=True, check=False)
        for way in ways
    ]
    assert ends[0].returncode == ends[1].returncode == 1
    assert ends[0].stderr == ends[1].stderr


def test_warnings_come_whole_however_many(tmp_path: Path) -> None:
    """As many as fit are in `done`, the others come before it."""
    from edgestem.daemon.jobs.separate import _say_done

    told: list[bytes] = []

    class Listener:
        def say(self, kind: str, **fields: Any) -> None:
            told.append(encode(kind, **fields))

    texts = [f"{i} " + "ö" * 300 for i in range(9)]
    _say_done(Listener(), {"warnings": list(texts), "n_samples": 1})  # type: ignore[arg-type]
    decoder, found = Decoder(), []
    decoder.feed(b"".join(told))
    while (message := decoder.next_message()) is not None:
        found += [message.fields["text"]] if message.type == "warning" else []
        found += message.fields.get("warnings", [])
    assert found == texts and message is None
    assert json.loads(told[-1])["warnings"]
