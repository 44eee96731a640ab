"""How the figures change when a scan is corrupted or stored in another way."""
