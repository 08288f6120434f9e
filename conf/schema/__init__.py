"""The pydantic models of every option group, what is derived from them, and the rules across them."""
