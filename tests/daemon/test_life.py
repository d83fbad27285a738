"""Starting, configuring, activating, draining and killing the daemon."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from daemons import DATA, DaemonProcess, running, wait_for
from jobs import local_stems, make_song, new_files, refused, submit

from edgestem.daemon.system.config import DaemonConfig, load_config
from edgestem.errors import EdgestemError

KILLS = int(os.environ.get("EDGESTEM_KILLS", "6"))  # the bench does 100
needs_toml = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="configuration files need Python 3.11"
)


def listener(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen(8)
    return found


# ---- the socket ---------------------------------------------------------------


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    listener(tmp_path / "socket").close()
    assert (tmp_path / "socket").exists()
    with running(tmp_path) as daemon, daemon.client() as client:
        client.status()
    assert not (tmp_path / "socket").exists()


def test_a_living_daemon_keeps_its_socket(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        second = DaemonProcess(tmp_path)
        assert second.process.wait(20) == 1
        assert "[socket_in_use]" in daemon.log.read_text()
        with daemon.client() as client:
            client.status()


def test_what_is_no_socket_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "socket").write_text("precious")
    daemon = DaemonProcess(tmp_path)
    assert daemon.process.wait(20) == 1
    assert (tmp_path / "socket").read_text() == "precious"


def test_a_socket_from_systemd_is_used_and_stays(tmp_path: Path) -> None:
    passed = listener(tmp_path / "activated")
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    notified.settimeout(20)
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1',"
        "NOTIFY_SOCKET=sys.argv[2], WATCHDOG_USEC='600000');"
        "os.execv(sys.executable, [sys.executable, '-m', 'edgestem', 'serve',"
        "'--model', sys.argv[3]])"
    )
    line = [sys.executable, "-c", code, str(passed.fileno()), str(tmp_path / "notify")]
    process = subprocess.Popen(
        [*line, str(DATA / "tiny.tflite")], pass_fds=[passed.fileno()]
    )
    try:
        with socket.socket(socket.AF_UNIX) as early:  # before it is ready
            early.connect(str(tmp_path / "activated"))
            early.settimeout(20)
            assert b"hello" in early.recv(4096)
        seen = [notified.recv(4096).decode() for _ in range(4)]
        assert any("READY=1" in text for text in seen)
        assert sum("WATCHDOG=1" in text for text in seen) >= 2
        assert any("STATUS=0 streams, 0 jobs" in text for text in seen)
    finally:
        process.terminate()
        assert process.wait(20) == 0
        notified.close()
        passed.close()
    assert (tmp_path / "activated").exists()  # systemd's, not ours


# ---- configuration --------------------------------------------------------------


@needs_toml
def test_flags_beat_variables_beat_files_beat_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edgestem" / "edgestem.toml"
    file.parent.mkdir()
    file.write_text(
        '[serve]\nsocket = "/a"\nmax_jobs = 5\nthreads = 2\nsocket_mode = "0600"\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("EDGESTEM_SOCKET", "/b")
    monkeypatch.setenv("EDGESTEM_THREADS", "3")
    monkeypatch.setenv("EDGESTEM_INPUT_DIRS", "/x:/y")
    config = load_config(flags={"socket": "/c", "device": None}, settings=["slots=4"])
    assert (config.socket, config.threads, config.max_jobs) == ("/c", 3, 5)
    assert (config.socket_mode, config.slots) == (0o600, 4)
    assert config.input_dirs == ("/x", "/y")
    assert config.device == DaemonConfig().device
    other = tmp_path / "other.toml"
    other.write_text("[serve]\nmax_jobs = 7\n")
    assert load_config(str(other)).max_jobs == 7
    assert load_config(str(other)).socket_mode == 0o660


@needs_toml
@pytest.mark.parametrize(
    "text",
    [
        "[serve]\nmax_job = 5\n",
        "[serve]\nmax_jobs = '5'\n",
        "[serve]\nmax_jobs = true\n",
        "[serve]\nmax_jobs = 0\n",
        "[serve]\nlive_load = 1.5\n",
        "[serve]\nsocket_mode = '9'\n",
        "[serve]\ninput_dirs = ['relative']\n",
        "[serve]\ninput_dirs = '/a'\n",
        "[serve]\nlog_level = 'loud'\n",
        "[server]\n",
        "serve = 1\n",
        "[serve\n",
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(EdgestemError) as caught:
        load_config(str(tmp_path / "c.toml"))
    assert caught.value.code == "bad_config"


def test_the_default_socket_needs_no_folder_yet() -> None:
    from edgestem.daemon.system.listener import check_place

    # What `serve` makes below /run must not be missed by --check-config.
    check_place(DaemonConfig(socket="/run/edgestem-of-a-test/socket"))
    with pytest.raises(EdgestemError, match="choose --socket PATH"):
        check_place(DaemonConfig(socket="/nowhere-of-a-test/socket"))


def test_check_config_works_without_a_runtime_folder() -> None:
    line = [sys.executable, "-m", "edgestem", "serve", "--check-config"]
    line += ["--model", str(DATA / "tiny.tflite")]
    skip = {"XDG_RUNTIME_DIR", "EDGESTEM_SOCKET"}
    plain = {k: v for k, v in os.environ.items() if k not in skip}
    done = subprocess.run(line, capture_output=True, text=True, env=plain, check=False)
    assert done.returncode == 0, done.stderr


def test_check_config_prints_all_of_it(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "edgestem", "serve", "--check-config"]
    line += ["--model", str(DATA / "tiny.tflite"), "--socket", str(tmp_path / "s")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "[serve]" in done.stdout and "# models: tiny" in done.stdout
    assert 'socket_mode = "0660"' in done.stdout
    if sys.version_info >= (3, 11):  # what it prints can be read again
        import tomllib

        assert set(tomllib.loads(done.stdout)["serve"]) == set(
            DaemonConfig.__dataclass_fields__
        )
    for wrong in (["--set", "nonsense=1"], ["--model", "nope"], ["--config", "/no"]):
        done = subprocess.run(
            [*line, *wrong], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, wrong
        assert done.stderr.startswith("edgestem: error:"), done.stderr


@needs_toml
def test_sighup_reloads_and_keeps_what_is_wrong_out(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[serve]\nmax_streams = 1\n")
    with running(tmp_path, "--config", str(file)) as daemon:
        wait_for(lambda: "ready" in daemon.log.read_text())
        with daemon.client() as one, daemon.client() as two:
            one.open(44100)
            assert refused(lambda: two.open(44100)) == "too_many_streams"
            file.write_text("[serve]\nmax_streams = 2\nthreads = 2\n")
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "configuration loaded" in daemon.log.read_text())
            assert "restart is needed to change: threads" in daemon.log.read_text()
            two.open(44100)
            file.write_text("[serve]\nmax_streams = 'many'\n")
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "stays as it was" in daemon.log.read_text())
            one.status()


# ---- the end ----------------------------------------------------------------------


def test_sigterm_closes_streams_and_finishes_jobs(tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", seconds=60)
    with running(tmp_path, drain_s=60) as daemon:
        client, streamer = daemon.client(), daemon.client()
        streamer.open(44100)
        fields = {"fds": [os.open(song, os.O_RDONLY), *new_files(tmp_path)]}
        submit(client, fields)
        client.receive("progress")
        submit(client, fields)  # this one waits
        daemon.process.terminate()
        assert refused(lambda: client.receive("done")) == "cancelled"
        client.receive("done")
        streamer.receive("closed")
        assert refused(lambda: streamer.receive("x")) == "shutting_down"
        assert daemon.process.wait(20) == 0
        daemon.process = subprocess.Popen(["sleep", "9"])  # for `running`
        client.close()
        streamer.close()
    assert soundfile.info(tmp_path / "0.bin").frames == 60 * 44100


def test_sigterm_cancels_jobs_that_take_too_long(tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", seconds=240)
    daemon = DaemonProcess(tmp_path, "--output-dir", str(tmp_path), drain_s=0)
    daemon.wait_until_ready()
    client = daemon.client()
    source = os.open(song, os.O_RDONLY)
    submit(client, {"fds": [source], "output_dir": str(tmp_path / "stems")})
    client.receive("progress")
    assert daemon.end() == 0
    assert refused(lambda: client.receive("done")) == "cancelled"
    client.close()
    assert not (tmp_path / "stems").exists() or not any((tmp_path / "stems").iterdir())
    assert not daemon.socket.exists()


def test_sigkill_at_any_moment_leaves_whole_outputs_or_none(tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", seconds=8)
    expected = local_stems(song, tmp_path / "local")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    took, n_whole = 0.5, 0
    for number in range(KILLS):
        folder = tmp_path / "stems"
        daemon = DaemonProcess(tmp_path, "--output-dir", str(tmp_path), cache_mb=100)
        daemon.wait_until_ready()
        client = daemon.client()
        source = os.open(song, os.O_RDONLY)
        started = time.monotonic()
        fields: dict[str, Any] = {"fds": [source], "output_dir": str(folder)}
        submit(client, fields)
        if number == 0:  # learn how long it takes
            client.receive("done")
            took = time.monotonic() - started
            shutil.rmtree(tmp_path / "cache")
        else:
            time.sleep(rng.uniform(0, 1.2 * took))
        daemon.process.kill()
        daemon.process.wait()
        client.close()
        os.close(source)
        found = {p.stem: p.read_bytes() for p in folder.glob("[!.]*")}
        assert all(found[name] == expected[name] for name in found)
        n_whole += bool(found)
        if found:
            shutil.rmtree(folder)
        if rng.random() < 0.5:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    print(f"{KILLS} kills, {n_whole} after the end of the job")
    with running(tmp_path, "--output-dir", str(tmp_path), cache_mb=100) as daemon:
        with daemon.client() as client:
            source = os.open(song, os.O_RDONLY)
            ask = {"output_dir": str(tmp_path / "stems"), "replace": True}
            submit(client, {"fds": [source], **ask})
            client.receive("done")
        names = sorted(p.name for p in (tmp_path / "stems").iterdir())
        assert names == ["instrumental.wav", "vocals.wav"]  # no remains
        assert not list((tmp_path / "cache").rglob("*.part"))
