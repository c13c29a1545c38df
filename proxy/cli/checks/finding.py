"""A finding: what was looked at, what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "care"]


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """`care`: the service will not do its work as it should. `note`: worth knowing. `advice` says what to do."""

    level: Level
    subject: str
    found: str
    advice: str = ""
