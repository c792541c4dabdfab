"""The report of a run on a GPU: written after each section, so that a run cut short leaves it."""

import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import print_result

Section = Callable[[], dict[str, Any]]


@dataclass
class Report:
    """Facts by section. A section that fails is a fact too, and the others still run."""

    path: Path | None
    device: torch.device
    limit_seconds: float  # sections that would begin later are left out, and named
    began: float = field(default_factory=time.monotonic)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_section(self, name: str, section: Section) -> None:
        """Run one section and keep what it found, beside the seconds that it took."""
        started = time.monotonic()
        if started - self.began > self.limit_seconds:
            self.sections[name] = {"left_out": f"begun after {self.limit_seconds:.0f} s"}
        else:
            try:
                found = section()
            except Exception as error:  # one fault must not hide the other figures
                traceback.print_exc()
                found = {"error": f"{type(error).__name__}: {error}"}
            self.sections[name] = found | {"seconds": round(time.monotonic() - started, 1)}
        sys.stderr.write(f"{name}: {json.dumps(self.sections[name])}\n")
        self._write()

    def facts(self) -> dict[str, Any]:
        """All that is known, as JSON has it."""
        failed = [name for name, found in self.sections.items() if "error" in found]
        disagreeing = [
            name for name, found in self.sections.items() if not found.get("agree", True)
        ]
        return {
            "name": "gpu",
            "agree": not failed and not disagreeing,
            "failed": failed + disagreeing,
            "ran_on": "a GPU" if self.device.type == "cuda" else "a CPU: not run on a GPU",
            "machine": machine_facts(self.device),
            "sections": self.sections,
        }

    def print_last_line(self) -> None:
        print_result(self.facts())

    def _write(self) -> None:
        if self.path:
            self.path.write_text(json.dumps(self.facts(), indent=1) + "\n")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What a figure depends on."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
    }
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": found.name,
            "gpu_gib": round(found.total_memory / 2**30, 1),
            "multiprocessors": found.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return facts
