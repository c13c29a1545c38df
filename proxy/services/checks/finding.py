"""The value that a check returns: the subject, the finding, and advice. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "care"]


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """`care`: the service will not work properly. `note`: for information. `advice` says what to do."""

    level: Level
    subject: str
    found: str
    advice: str = ""
