"""From rows to token sequences with labels: reading, rendering, labelling, packing, and the built-in rows."""
