"""Buttons on the task page."""
