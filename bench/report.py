"""What a benchmark leaves behind: one JSON file in the contract's format, and its figures on the terminal."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "build" / "reports"


@dataclass(frozen=True)
class Report:
    """The outcome of one benchmark.

    Attributes:
        figures: case to a number in the benchmark's own unit.
        ratios: case to a number without a unit: us against what we are compared with.
        missed: cases that broke a bound, or whose run was not valid. With any, the benchmark exits with status 1.

    Source:
        CONTRACT, "Command line and files".
    """

    figures: Mapping[str, float]
    ratios: Mapping[str, float]
    missed: Sequence[str] = field(default=())

    def write(self, path: Path) -> None:
        """Writes the report as JSON, whole or not at all."""
        content = {
            "machine": machine(),
            "commit": commit(),
            "figures": dict(self.figures),
            "ratios": dict(self.ratios),
            "missed": list(self.missed),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def machine() -> str:
    """Processor, cores that we may use, and kernel: enough to know which reports can be compared."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.release()} {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown processor")


def commit() -> str:
    """The commit that was measured, with `-dirty` behind it where files differ; `unknown` outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
