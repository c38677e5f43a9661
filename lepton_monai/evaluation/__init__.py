"""Figures on the source grid, with intervals."""
