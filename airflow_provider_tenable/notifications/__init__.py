"""Notifiers, for callbacks."""
