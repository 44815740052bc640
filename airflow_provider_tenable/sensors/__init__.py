"""Sensors: waiting for something that others start in Tenable."""
