"""Tests of the room launcher."""
