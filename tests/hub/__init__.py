"""A small hub on the loopback address that speaks the hub's HTTP protocol well enough for its real client."""
