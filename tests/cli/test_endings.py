"""How the command line ends: streams that fail, signals at any moment, the world."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import forks
import pytest

from edgestem.cli.world import as_error
from edgestem.errors import AudioError
from edgestem.sound import descriptors
from edgestem.sound.parts import wrap

EDGESTEM = [sys.executable, "-m", "edgestem"]
MODEL = ["--model", str(Path(__file__).parent.parent / "data" / "tiny.tflite")]
BUFFERED = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
UNBUFFERED = BUFFERED | {"PYTHONUNBUFFERED": "1"}


def shell(
    line: str, folder: Path, env: dict[str, str] = BUFFERED
) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which $E is edgestem."""
    program = f'E() {{ "{sys.executable}" -m edgestem "$@"; }}; {line}'
    command = ["bash", "-c", program]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def stems(run, write_song, tmp_path) -> Path:
    """A song and its stems."""
    assert run("separate", write_song(), "-o", "out", "--quiet").returncode == 0
    return tmp_path


# ---- stdout ------------------------------------------------------------------

TALKATIVE = [
    "E --version",
    "E --help",
    "E help separate",
    "E doctor --help",
    "E info",
    "E completion bash",
    "E verify out song.wav",
    "E separate song.wav -o new --force --json --model $MODEL",
    "E separate song.wav -o - --only vocals --model $MODEL",
    "E stream --model $MODEL < song.wav",
]


@pytest.mark.parametrize("line", TALKATIVE)
@pytest.mark.parametrize("end", [">/dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_is_one_sentence_and_status_1(
    stems: Path, line: str, end: str
) -> None:
    both = "version" in line or "-o -" in line
    for env in (BUFFERED, UNBUFFERED) if both else (BUFFERED,):
        result = shell(f"{line} {end}", stems, env | {"MODEL": MODEL[1]})
        assert result.returncode == 1
        said = [line for line in result.stderr.splitlines() if "latency" not in line]
        assert len(said) == 1, result.stderr
        assert said[0].startswith("edgestem: error: standard output ")
        assert said[0].endswith("[unwritable]")


@pytest.mark.parametrize("line", ["E info", "E --help", "E completion zsh"])
def test_a_reader_of_results_that_has_gone_is_141_and_no_word(
    tmp_path: Path, line: str
) -> None:
    result = shell(f"({line}; echo $? >status) | sleep 0", tmp_path)
    assert result.stderr == ""
    assert (tmp_path / "status").read_text() == "141\n"


def test_results_arrive_whole_in_a_pipe_that_takes_a_part(tmp_path: Path) -> None:
    """A parent made it non-blocking, and reads late."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    pid = forks.fork()
    if pid == 0:
        os.close(reader)
        descriptors.write_all(writer, data)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == data
    assert os.waitpid(pid, 0)[1] == 0


# ---- stderr ------------------------------------------------------------------


@pytest.mark.parametrize("end", ["2>/dev/full", "2>&-", "2> >(exec sleep 0)"])
def test_a_stderr_that_cannot_be_written_does_not_end_a_batch(
    write_song, tmp_path, end: str
) -> None:
    for name in ("a.wav", "b.wav"):
        write_song(name)
    for env in (BUFFERED, UNBUFFERED):
        words = f"separate a.wav gone.wav b.wav --force --model {MODEL[1]}"
        result = shell(f"E {words} {end}", tmp_path, env)
        assert result.returncode == 1  # gone.wav
        for name in ("a", "b"):
            stem = tmp_path / "separated" / name / "vocals.wav"
            assert stem.is_file()
            stem.unlink()
    words = f"separate a.wav --force --model {MODEL[1]}"
    assert shell(f"E {words} {end}", tmp_path).returncode == 0


# ---- signals while it loads ----------------------------------------------------

# What a signal that comes in the midst of an import may become.
FATES = {
    "raised": "os.kill(os.getpid(), {number})",
    "another error": """
try:
    os.kill(os.getpid(), {number})
except BaseException:
    raise ImportError("initialization failed")
""",
    "lost in a destructor": """
class Thing:
    def __del__(self):
        os.kill(os.getpid(), {number})
Thing()
raise ImportError("something else")
""",
}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["numpy", "ai_edge_litert/interpreter",
                                    "tflite_runtime/interpreter"])  # fmt: skip
def test_a_signal_while_it_loads_has_its_status_and_no_traceback(
    write_song, tmp_path, module: str, number: int, fate: str
) -> None:
    from edgestem.network.runtime import installed

    distribution = module.split("/")[0].replace("_", "-")
    if module != "numpy" and distribution not in installed():
        pytest.skip(f"{distribution} is not installed")
    fake = tmp_path / "fake" / f"{module}.py"
    fake.parent.mkdir(parents=True)
    if module != "numpy":
        (fake.parent / "__init__.py").touch()
    fake.write_text("import os\n" + FATES[fate].format(number=int(number)))
    words = ["separate", str(write_song()), *MODEL]
    if module != "numpy":
        words += ["--runtime", distribution]
    path = os.pathsep.join([str(tmp_path / "fake"), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [*EDGESTEM, *words], env=BUFFERED | {"PYTHONPATH": path}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 128 + number
    interrupted = "edgestem: error: interrupted [interrupted]\n"
    assert result.stderr == (interrupted if number == signal.SIGINT else "")
    assert not (tmp_path / "separated").exists()


def test_a_signal_that_was_swallowed_ends_the_song_at_its_next_block(
    write_song, tmp_path
) -> None:
    code = (
        "import os, signal, sys\n"
        "import edgestem.files.separate as a, edgestem.cli.main as c\n"
        "def swallow(*_):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except BaseException: pass\n"
        "old = a.open_song\n"
        "a.open_song = lambda p: (swallow(), old(p))[1]\n"
        "sys.exit(c.main(sys.argv[1:]))"
    )
    words = ["separate", str(write_song()), *MODEL]
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (143, b"")
    assert not (tmp_path / "separated").exists()


def test_ignored_signals_stay_ignored(write_song, tmp_path) -> None:
    """As nohup has it, and a shell's background."""
    write_song()
    code = (
        "import os, signal, sys, threading\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from edgestem.cli import interrupts; interrupts.leave_early()\n"
        "from edgestem.cli.main import main\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["separate", "song.wav", "--quiet", *MODEL]
    line = [sys.executable, "-c", code, *words]
    assert subprocess.run(line, cwd=tmp_path, timeout=60, check=False).returncode == 0


# ---- the world ---------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_no_error_of_the_system_is_a_bug(number: int) -> None:
    cause = OSError(number, os.strerror(number), "/some/where")
    found = as_error(cause)
    assert found is not None and found.code == "os_error"
    assert str(found).startswith(f"/some/where: {os.strerror(number)}")


def test_errors_of_the_world_have_sentences_and_bugs_have_none() -> None:
    import soundfile

    own = AudioError("x", code="exists")
    assert as_error(own) is own
    assert as_error(MemoryError()).code == "no_memory"  # type: ignore[union-attr]
    assert as_error(RuntimeError("can't start new thread")).code == "no_thread"  # type: ignore[union-attr]
    assert as_error(soundfile.LibsndfileError(1)).code == "unreadable"  # type: ignore[union-attr]
    nowhere = FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
    assert "TMPDIR" in str(as_error(nowhere))
    for bug in (TypeError("x"), KeyError("x"), RuntimeError("x"), AssertionError()):
        assert as_error(bug) is None


@pytest.mark.parametrize(
    "broken",
    [
        "OSError(28, 'No space left on device', '/tmp/x')",
        "OSError(24, 'Too many open files')",
        "PermissionError(13, 'Permission denied', 'b.wav')",
        "MemoryError()",
        "RuntimeError('invoke failed')",
        "soundfile.LibsndfileError(43)",
        "TypeError('a real bug')",
    ],
)
def test_whatever_one_song_does_the_others_are_done(
    write_song, tmp_path, broken: str
) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_song(name)
    code = (
        "import sys, soundfile\n"
        "import edgestem.files.separate as a, edgestem.cli.main as c\n"
        "old = a.open_song\n"
        "def opened(path):\n"
        f"    if path == 'b.wav': raise {broken}\n"
        "    return old(path)\n"
        "a.open_song = opened; sys.exit(c.main(sys.argv[1:]))"
    )
    words = ["separate", "a.wav", "b.wav", "c.wav", "--json", "--quiet", *MODEL]
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert ("a bug" in result.stderr) == broken.startswith(("Type", "Runtime"))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["error" in entry for entry in found] == [False, True, False]


def test_a_long_name_and_a_loop_of_links_are_sentences(run, write_song, tmp_path):
    write_song()
    (tmp_path / "loop").symlink_to("loop")
    long = "a" * 300
    for words in (
        ("separate", long, "loop", "song.wav", "-o", "out", "--force"),
        ("separate", "song.wav", "-o", long),
        ("separate", "song.wav", "-o", "loop/x"),
        ("verify", long, "song.wav"),
        ("verify", "loop", "song.wav"),
        ("lint", long),
        ("devices", "--model", f"{long}.tflite"),
        ("bench", "--save", long, "--compare", long, "--seconds", "0.1", *MODEL),
        ("serve", "--config", long),
        ("serve", "--socket", f"{long}/s", "--check-config"),
        ("client", "status", "--socket", long),
    ):
        result = run(*words)
        assert result.returncode in (1, 2, 3), result.stderr
        assert "a bug" not in result.stderr and "Traceback" not in result.stderr
        assert "edgestem: error: " in result.stderr
    assert (tmp_path / "out/song/vocals.wav").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="root may become somebody else")
def test_what_another_user_may_not_enter_is_a_sentence(write_song, tmp_path) -> None:
    """EACCES where only a look was wanted: songs, outputs, models, homes."""
    import shutil

    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    song, shut = write_song(), tmp_path / "shut"
    shut.mkdir(mode=0o700)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    nobody = "setpriv --reuid 54321 --regid 54321 --clear-groups"
    call = f'HOME={shut} {nobody} "{sys.executable}" -m edgestem'
    probe = [*nobody.split(), sys.executable, "-c", "import edgestem.files.separate"]
    if subprocess.run(probe, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("somebody else may not import edgestem here")
    for line in (
        f"separate {song} -o {shut}/x {' '.join(MODEL)}",
        f"separate {shut}/song.wav -o open/a {' '.join(MODEL)}",
        f"separate {shut} -o open/a {' '.join(MODEL)}",
        f"separate {song} -o open/b --model {shut}/x.tflite",
        f"verify {shut}/x {song}",
        f"bench --save {shut}/x.json --seconds 0.1 {' '.join(MODEL)}",
        "serve --check-config --socket open/s",
        f"serve --socket {shut}/s {' '.join(MODEL)}",
        f"lint {shut}/x.tflite",
    ):
        result = shell(f"{call} {line}", tmp_path)
        assert result.returncode == 1, (line, result.stderr)
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith("edgestem: error: ")
        assert "a bug" not in result.stderr
        assert "holds no songs" not in result.stderr


def test_too_few_open_files_are_a_sentence(run, write_song) -> None:
    result = run(
        *("separate", write_song(), "-o", "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)),
    )
    assert result.returncode in (0, 1)
    assert "a bug" not in result.stderr


# ---- a service ---------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="root may become nobody")
def test_a_user_without_home_and_passwd_entry_can_serve(tmp_path, monkeypatch) -> None:
    from edgestem.daemon.system import config as daemon_config

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CACHE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(daemon_config.Path, "home", homeless)
    config = daemon_config.load_config()
    with pytest.raises(daemon_config.ConfigError, match="cache_dir"):
        config.cache_folder()


def test_sockets_that_were_not_passed_are_a_sentence(tmp_path) -> None:
    line = f'LISTEN_PID=$$ LISTEN_FDS=3 exec "{sys.executable}" -m edgestem serve'
    result = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.endswith("[bad_config]\n")
    assert "descriptor 3" in result.stderr


def test_a_socket_without_its_folder_names_the_way_out(monkeypatch, tmp_path) -> None:
    from edgestem.daemon.system import listener as daemon_socket
    from edgestem.daemon.system.config import ConfigError, DaemonConfig

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(daemon_socket, "SYSTEM_SOCKET", str(tmp_path / "no/socket"))
    monkeypatch.setattr(daemon_socket, "default_socket", lambda: tmp_path / "no/socket")
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR") as caught:
        daemon_socket.check_place(DaemonConfig())
    assert "--socket PATH" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EIO])
def test_a_stem_and_the_roof_say_the_same_way_out(number: int) -> None:
    cause = OSError(number, os.strerror(number), "/some/where")
    way = str(as_error(cause)).partition("; ")[2]
    with pytest.raises(AudioError) as caught, wrap(Path("/some/where")):
        raise cause
    assert way and str(caught.value).endswith(f"; {way}")
