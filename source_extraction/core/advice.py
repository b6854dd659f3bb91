"""What a run's own measurements say is wrong with it, and which options cure it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Advice:
    """One thing that is wrong with a run: its kind, what is seen, in numbers, and the options that cure it.

    `change` has the names of options without dashes and the values that they should have; it is empty where no option
    helps.
    """

    id: str
    seen: str
    evidence: dict[str, Any] = field(default_factory=dict)
    change: dict[str, Any] = field(default_factory=dict)
