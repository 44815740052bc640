"""Stage 2: records become findings, each routed to an account and Region."""
