"""Operators: export from Tenable, map to ASFF, import into Security Hub."""
