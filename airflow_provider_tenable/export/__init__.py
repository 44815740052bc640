"""Stage 1: an export job becomes staged chunks."""
