"""Tests of the import of Axolotl recipes."""
