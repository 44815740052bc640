"""Triggers: waiting for a Tenable export without holding a worker slot."""
