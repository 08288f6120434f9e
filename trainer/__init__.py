"""Compute node: an agent on each node, a worker on each device, a result in the run folder."""
