"""Jinja templates for what differs between sites: modules, containers, NCCL, launch lines."""
