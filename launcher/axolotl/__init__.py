"""Import of Axolotl recipes: read, translate key by key, check, report. Nothing of Axolotl is imported or run."""
