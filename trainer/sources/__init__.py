"""Where weights come from: the hub, a local folder, or a Python wheel that carries a GGUF file."""
