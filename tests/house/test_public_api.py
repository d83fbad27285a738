"""The public names are a list, and this test guards the list."""

from __future__ import annotations

import inspect

import edgestem

NAMES = {
    "AudioError",
    "Client",
    "EdgestemError",
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


def test_exported_members() -> None:
    assert set(edgestem.__all__) == NAMES
    for name in NAMES:
        assert getattr(edgestem, name) is not None


def test_doors_share_their_defaults() -> None:
    doors = [edgestem.separate, edgestem.separate_file, edgestem.Separator]
    seen: dict[str, object] = {}
    for door in doors:
        for name, parameter in inspect.signature(door).parameters.items():
            if parameter.default is inspect.Parameter.empty:
                continue
            assert seen.setdefault(name, parameter.default) == parameter.default, name
            if name != "out":
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
    assert seen["model"] == "karaoke"


def test_no_boolean_positionals_and_no_catch_all() -> None:
    for door in (edgestem.separate, edgestem.separate_file, edgestem.Separator):
        for parameter in inspect.signature(door).parameters.values():
            assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
