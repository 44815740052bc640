"""What the hubs hold: the finding index, and what is sent because of it."""
