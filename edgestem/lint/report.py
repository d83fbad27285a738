"""Would a model run on an Edge TPU?  Every published rule, checked on the file.

The compiler puts one contiguous run of operators on the TPU: from the first one
that breaks a rule on, all run on the CPU.  The rules are data in `edgetpu`;
nothing here has asked the compiler itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.lint.edgetpu import CACHE_BYTES, ERROR, INSTEAD, RULES, SUPPORTED, WARNING
from edgestem.lint.graph import Graph, Op, read_graph


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that one operator (None: the whole model) breaks."""

    op: int | None
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class LintReport:
    """What the linter says about one file."""

    graph: Graph
    findings: tuple[Finding, ...]
    n_on_tpu: int
    """Operators before the first that leaves the TPU."""

    @property
    def is_clean(self) -> bool:
        """No rule is broken."""
        return not self.findings

    @property
    def macs(self) -> int:
        """Of one call."""
        return sum(op.macs for op in self.graph.ops)

    @property
    def share(self) -> float:
        """Part of the MACs that stays on the TPU, 0..1."""
        on_tpu = sum(op.macs for op in self.graph.ops[: self.n_on_tpu])
        return on_tpu / self.macs if self.macs else float(self.n_on_tpu > 0)

    @property
    def weight_bytes(self) -> int:
        """All kernels and biases."""
        return sum(op.weight_bytes for op in self.graph.ops)

    @property
    def largest_activation(self) -> int:
        """Bytes of the largest tensor that is computed."""
        return max((t.n_bytes for op in self.graph.ops for t in op.computed), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": str(self.graph.path),
            "is_clean": self.is_clean,
            "operators": len(self.graph.ops),
            "operators_on_tpu": self.n_on_tpu,
            "mac_share_on_tpu": round(self.share, 4),
            "macs": self.macs,
            "weight_bytes": self.weight_bytes,
            "largest_activation_bytes": self.largest_activation,
            "findings": [
                {"operator": f.op, "level": f.level, "text": f.text}
                for f in self.findings
            ],
        }


def lint(path: Path) -> LintReport:
    """Check a .tflite file against the Edge TPU's rules.

    Raises
    ------
    ModelError
        The file cannot be read, or the extra is not installed.
    """
    graph = read_graph(path)
    findings = [f for op in graph.ops for f in check(op)]
    leaving = [f.op for f in findings if f.level == ERROR and f.op is not None]
    n_on_tpu = min(leaving, default=len(graph.ops))
    report = LintReport(graph, (), n_on_tpu)
    return LintReport(graph, (*findings, *_check_whole(report)), n_on_tpu)


def check(op: Op) -> list[Finding]:
    """Apply every rule to one operator."""
    if op.name not in SUPPORTED:
        hint = INSTEAD.get(op.name)
        text = f"the Edge TPU has no {op.name}" + (f"; use {hint}" if hint else "")
        return [Finding(op.index, ERROR, text)]
    return [
        Finding(op.index, rule.level, rule.text)
        for rule in RULES
        if (not rule.ops or op.name in rule.ops) and rule.is_broken(op)
    ]


def _check_whole(report: LintReport) -> list[Finding]:
    found = []
    if report.graph.n_subgraphs != 1:
        n = report.graph.n_subgraphs
        found.append(Finding(None, ERROR, f"{n} subgraphs; the compiler takes one"))
    if report.weight_bytes > CACHE_BYTES:
        size = f"{report.weight_bytes / 2**20:.1f} MiB of weights"
        text = f"{size} exceed the cache of about 6.9 MiB; the rest is sent every call"
        found.append(Finding(None, WARNING, text))
    return found


def to_lines(report: LintReport) -> list[str]:
    """Write the report for a person, one line an operator."""
    by_op: dict[int | None, list[Finding]] = {}
    for f in report.findings:
        by_op.setdefault(f.op, []).append(f)
    lines = [f"{'':>3} {'operator':24} {'output':>18} {'MMAC':>8} {'KiB':>7}  where"]
    for op in report.graph.ops:
        shape = "x".join(map(str, op.outputs[0].shape)) if op.outputs else ""
        where = "TPU" if op.index < report.n_on_tpu else "CPU"
        lines.append(
            f"{op.index:3} {op.name:24} {shape:>18} {op.macs / 1e6:8.2f} "
            f"{op.weight_bytes / 1024:7.1f}  {where}"
        )
        lines += [f"      {f.level}: {f.text}" for f in by_op.get(op.index, [])]
    lines += [f"{f.level}: {f.text}" for f in by_op.get(None, [])]
    return [*lines, *_summary(report)]


def _summary(report: LintReport) -> list[str]:
    n_ops, n = len(report.graph.ops), report.n_on_tpu
    errors = sum(f.level == ERROR for f in report.findings)
    warnings = len(report.findings) - errors
    verdict = "clean by the published rules (the compiler itself was not asked)"
    if not report.is_clean:
        verdict = f"{errors} errors, {warnings} warnings"
    return [
        f"weights {report.weight_bytes / 2**20:.2f} MiB, largest activation "
        f"{report.largest_activation / 2**20:.2f} MiB, "
        f"{report.macs / 1e6:.1f} MMAC a call",
        f"on the TPU: {n} of {n_ops} operators, {100 * report.share:.0f} % of the MACs",
        f"{report.graph.path.name}: {verdict}",
    ]
