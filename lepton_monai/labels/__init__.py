"""Labels in their clinical form, as masks on the grid of their image."""
