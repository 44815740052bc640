"""What the provider costs, compared with Tenable's own tool: `make bench`."""
