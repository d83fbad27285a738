"""What users choose of a network; nothing that reads or runs one."""

from __future__ import annotations

DEFAULT = "karaoke"
LIVE_DEFAULT = "live"  # the default where somebody plays along
# More threads than this crash a runtime in C, and no net here gains from them.
MAX_THREADS = 64
# (import name of the interpreter's module, distribution that brings it)
RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)
