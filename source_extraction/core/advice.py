"""What a run's own measurements say is wrong with it, and which options cure it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..settings import as_options


@dataclass(frozen=True)
class Advice:
    """One problem of a run: its kind, the evidence in numbers, and the options that cure it.

    `change` maps option names, without dashes, to the values they should have; it is empty where no option helps.
    """

    id: str
    seen: str
    evidence: dict[str, Any] = field(default_factory=dict)
    change: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        numbers = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.evidence.items())
        cure = f"run again with {as_options(self.change)}" if self.change else "no option changes that"
        return f"{self.seen} ({numbers}); {cure}"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
