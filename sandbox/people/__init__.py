"""Invented people of the company Contoso, for tenants and instances that need somebody to provision."""

from __future__ import annotations

from sandbox.people.generator import GeneratedDevice, GeneratedGroup, GeneratedUser, Organisation, generate
from sandbox.people.organisation import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS

__all__ = [
    "COMPANIES",
    "COST_CENTERS",
    "DEPARTMENTS",
    "LOCATIONS",
    "GeneratedDevice",
    "GeneratedGroup",
    "GeneratedUser",
    "Organisation",
    "generate",
]
