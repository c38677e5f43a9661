"""The nouns that every room shares: grids, volumes, findings, errors, and the one way to the disk."""
