"""What the provider costs, beside Tenable's own tool: `make bench`."""
