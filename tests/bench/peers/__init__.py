"""Other tools that pull the same rows, measured beside the connector: `make bench-peers`."""
