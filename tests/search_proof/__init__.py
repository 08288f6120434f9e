"""The proof of successive halving: what it finds on a grid whose every result is known, and how many steps it takes."""
