"""The public names are a list, and this test guards the list."""

from __future__ import annotations

import inspect
from pathlib import Path

import edgestem

NAMES = {
    "AudioError",
    "Client",
    "ClientStream",
    "EdgestemError",
    "FileReport",
    "Message",
    "ModelConfig",
    "ModelError",
    "NativeError",
    "ProtocolError",
    "Separator",
    "Stems",
    "StreamClosed",
    "__version__",
    "find_socket",
    "separate",
    "separate_file",
}
DOORS = (edgestem.separate, edgestem.separate_file, edgestem.Separator)


def test_exported_members() -> None:
    assert set(edgestem.__all__) == NAMES
    for name in NAMES:
        assert getattr(edgestem, name) is not None
    assert set(dir(edgestem)) == NAMES


def test_what_is_returned_is_exported(tiny_model: Path) -> None:
    client = edgestem.Client
    for door in (*DOORS[:2], client.open, client.receive, client.separate):
        assert inspect.signature(door).return_annotation in NAMES
    config = edgestem.Separator(44100, 2, model=tiny_model).config
    assert isinstance(config, edgestem.ModelConfig)


def test_doors_share_the_words_of_the_network() -> None:
    words = {"model", "threads", "fft", "runtime", "device", "device_options"}
    for door in DOORS:
        assert words | {"fallback"} <= set(inspect.signature(door).parameters), door


def test_doors_share_their_defaults() -> None:
    seen: dict[str, object] = {}
    for door in DOORS:
        for name, parameter in inspect.signature(door).parameters.items():
            if parameter.default is inspect.Parameter.empty:
                continue
            assert seen.setdefault(name, parameter.default) == parameter.default, name
            if name != "out":
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
    assert seen["model"] == "karaoke"


def test_no_boolean_positionals_and_no_catch_all() -> None:
    for door in DOORS:
        for parameter in inspect.signature(door).parameters.values():
            assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
