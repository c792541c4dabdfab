"""What one check says: all is well, something to know, or a fault with what mends it."""

from dataclasses import dataclass

FINE, NOTE, FAULT = "fine", "note", "fault"


@dataclass(frozen=True)
class Finding:
    check: str
    level: str  # fine, note or fault
    says: str
    to_do: str = ""  # a command, or what a person does; empty where nothing is to do
