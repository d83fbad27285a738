"""Build the kernel's own tests with each compiler, plain and under sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from edgestem import native

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NATIVE = ROOT / "native"
# The kernel; guard.c is no part of it, it is for Python and JACK.
SOURCES = sorted(path for path in NATIVE.rglob("*.c") if path.name != "guard.c")
FLAGS = [
    *("-std=c11", "-ffp-contract=off", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes"),
    *("-Werror", f"-I{NATIVE}"),
]
SANITIZE = [
    *("-O1", "-fno-sanitize-recover=all", "-fsanitize=address,undefined"),
    # Bad addresses are AddressSanitizer's; these double the time to compile.
    "-fno-sanitize=null,object-size,alignment,pointer-overflow",
]
BUILDS = {"plain": ["-O3"], "sanitized": SANITIZE}
# With hooks for libFuzzer, which only a fuzzing main program uses.
CLANG_BUILDS = BUILDS | {"sanitized": [*SANITIZE, "-fsanitize=fuzzer-no-link"]}
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)] or ["cc"]
EMULATORS = {
    "aarch64-linux-gnu-gcc": "qemu-aarch64",
    "arm-linux-gnueabihf-gcc": "qemu-arm",
}
LEVELS = {"aarch64-linux-gnu-gcc": {"scalar", "neon"}}
DIGESTS = HERE / "digests.txt"  # what digest.c prints, without the level
STRETCH_DIGESTS = HERE / "digests_stretch.txt"  # what digest_stretch.c prints

compilers = pytest.mark.parametrize("compiler", COMPILERS)
# One compiler's sanitizers: the last has libFuzzer, too, where there is clang.
sanitizers = pytest.mark.parametrize("compiler", COMPILERS[-1:])
cross_compilers = pytest.mark.parametrize(
    "cross",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not (shutil.which(name) and shutil.which(emulator)),
                reason=f"no {name} and {emulator}",
            ),
        )
        for name, emulator in EMULATORS.items()
    ],
)
Objects = Callable[[str, str], list[Path]]


def run(*command: object) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


def flags(compiler: str, build: str) -> list[str]:
    return [*FLAGS, *(CLANG_BUILDS if compiler == "clang" else BUILDS)[build]]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Compile the kernel once for each compiler and build."""

    @cache
    def compile_all(compiler: str, build: str) -> list[Path]:
        folder = tmp_path_factory.mktemp(f"{compiler}-{build}")
        targets = [folder / f"{source.stem}.o" for source in SOURCES]
        for source, target in zip(SOURCES, targets, strict=True):
            run(compiler, *flags(compiler, build), "-c", source, "-o", target)
        return targets

    return compile_all


@pytest.mark.parametrize(
    ("build", "compiler"),
    [*(("plain", name) for name in COMPILERS), ("sanitized", COMPILERS[-1])],
)
def test_kernel_alone(
    objects: Objects, compiler: str, build: str, tmp_path: Path
) -> None:
    program, source = tmp_path / "test", HERE / "test_kernel.c"
    parts = [source, *objects(compiler, build), "-lm", "-o", program]
    run(compiler, *flags(compiler, build), *parts)
    assert " 0 failed" in run(program)


@cross_compilers
def test_kernel_alone_on_arm(objects: Objects, cross: str, tmp_path: Path) -> None:
    program, source = tmp_path / "test", HERE / "test_kernel.c"
    parts = [source, *objects(cross, "plain"), "-lm", "-static", "-o", program]
    run(cross, *FLAGS, "-O1", *parts)  # GCC 12 crashes on the test with -O3
    best = "neon" if cross in LEVELS else "scalar"
    assert f" 0 failed, best level {best}" in run(EMULATORS[cross], program)


def digests(
    objects: Objects, compiler: str, folder: Path, name: str = "digest"
) -> dict[str, str]:
    """Build and run digest.c or another: the lines of each level, without its name.

    An emulator takes forty times as long: there it is the short cases alone.
    """
    program, emulator = folder / name, EMULATORS.get(compiler)
    parts = [HERE / f"{name}.c", *objects(compiler, "plain"), "-o", program]
    run(compiler, *FLAGS, "-O2", *(["-static"] if emulator else []), *parts)
    levels: dict[str, str] = {}
    command = [emulator, program, "few"] if emulator else [program]
    for line in run(*command).splitlines():
        level, rest = line.split(maxsplit=1)
        levels[level] = levels.get(level, "") + rest + "\n"
    return levels


def short(path: Path) -> str:
    """Give a file of digests without the lines of "all"."""
    lines = path.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("all "))


@compilers
def test_every_level_gives_the_same_bits(
    objects: Objects, compiler: str, tmp_path: Path
) -> None:
    levels = digests(objects, compiler, tmp_path)
    assert set(levels) == set(native.simd_levels())
    for level, lines in levels.items():
        assert lines == DIGESTS.read_text(), level


@cross_compilers
def test_arm_gives_the_bits_of_x86(
    objects: Objects, cross: str, tmp_path: Path
) -> None:
    levels = digests(objects, cross, tmp_path)
    assert set(levels) == LEVELS.get(cross, {"scalar"})
    for level, lines in levels.items():
        assert lines == short(DIGESTS), level


@compilers
def test_every_level_stretches_to_the_same_bits(
    objects: Objects, compiler: str, tmp_path: Path
) -> None:
    levels = digests(objects, compiler, tmp_path, "digest_stretch")
    assert set(levels) == set(native.simd_levels())
    for level, lines in levels.items():
        assert lines == STRETCH_DIGESTS.read_text(), level


@cross_compilers
def test_arm_stretches_to_the_bits_of_x86(
    objects: Objects, cross: str, tmp_path: Path
) -> None:
    levels = digests(objects, cross, tmp_path, "digest_stretch")
    assert set(levels) == LEVELS.get(cross, {"scalar"})
    for level, lines in levels.items():
        assert lines == short(STRETCH_DIGESTS), level


@sanitizers
def test_stretching_is_safe_under_sanitizers(
    objects: Objects, compiler: str, tmp_path: Path
) -> None:
    program, source = tmp_path / "digest", HERE / "digest_stretch.c"
    parts = [source, *objects(compiler, "sanitized"), "-o", program]
    run(compiler, *flags(compiler, "sanitized"), *parts)
    assert len(run(program, "wild").splitlines()) >= 4


@sanitizers
def test_any_config_and_samples_are_safe(
    objects: Objects, compiler: str, tmp_path: Path
) -> None:
    program, source = tmp_path / "fuzz", HERE / "fuzz_kernel.c"
    parts = [source, *objects(compiler, "sanitized"), "-o", program]
    run(compiler, *flags(compiler, "sanitized"), "-DES_FUZZ_MAIN", *parts)
    run(program)


@pytest.mark.skipif("clang" not in COMPILERS, reason="libFuzzer comes with clang")
def test_fuzzer_finds_nothing_in_a_few_seconds(
    objects: Objects, tmp_path: Path
) -> None:
    program, source = tmp_path / "fuzz", HERE / "fuzz_kernel.c"
    parts = [source, *objects("clang", "sanitized"), "-o", program]
    run("clang", *flags("clang", "sanitized"), "-fsanitize=fuzzer", *parts)
    seconds = os.environ.get("EDGESTEM_FUZZ_SECONDS", "3")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    limits = [f"-max_total_time={seconds}", "-max_len=2048", "-seed=1"]
    run(program, *limits, f"-artifact_prefix={tmp_path}/", corpus)


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_no_result_depends_on_uninitialised_memory(
    objects: Objects, tmp_path: Path
) -> None:
    program, source = tmp_path / "fuzz", HERE / "fuzz_kernel.c"
    parts = [source, *objects(COMPILERS[0], "plain"), "-o", program]
    run(COMPILERS[0], *flags(COMPILERS[0], "plain"), "-DES_FUZZ_MAIN", *parts)
    sample = tmp_path / "sample"
    sample.write_bytes(bytes((i * 37 + i * i // 5) % 256 for i in range(997)))
    run("valgrind", "-q", "--error-exitcode=9", program, sample)


@compilers
def test_kernel_exports_its_header_and_needs_no_allocator(
    objects: Objects, compiler: str
) -> None:
    names = ("edgestem.h", "stretch.h")
    header = "".join((NATIVE / name).read_text() for name in names)
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    functions = set(re.findall(r"\b(es_\w+)\(", header))
    internal = (NATIVE / "plan" / "internal.h").read_text()
    shared = set(re.findall(r"\b(es_\w+)\(", internal))
    tables = set(re.findall(r"extern const es_ops (\w+);", internal))
    lines = run("nm", *objects(compiler, "plain")).splitlines()
    symbols = [line.split()[-2:] for line in lines if line and line[-1] != ":"]
    defined = {name for kind, name in symbols if kind in "TRDBC"}
    assert functions <= defined
    assert defined <= functions | shared | tables
    libc = {"memcpy", "memset", "memmove"}
    compiler_own = {"_GLOBAL_OFFSET_TABLE_", "__cpu_model", "__cpu_indicator_init"}
    assert {n for k, n in symbols if k == "U"} - defined <= libc | compiler_own
    # Constant tables of pointers are D (.data.rel.ro); anything else is a global.
    assert {name for kind, name in symbols if kind in "DdBbC"} <= tables


def test_the_extension_exports_its_entry_point_only() -> None:
    from edgestem import _native

    lines = run("nm", "-D", "--defined-only", _native.__file__).splitlines()
    names = {line.split()[-1] for line in lines} - {"_init", "_fini"}
    assert names == {"PyInit__native"}
    assert ".abi3." in Path(_native.__file__).name


def test_sources_are_formatted() -> None:
    clang_format = shutil.which("clang-format")
    if not clang_format:
        pytest.skip("clang-format is not installed")
    files = [*NATIVE.rglob("*.[ch]"), *HERE.glob("*.[ch]")]
    run(clang_format, "--dry-run", "-Werror", *files)
