"""Hooks: Tenable Vulnerability Management and AWS Security Hub."""
