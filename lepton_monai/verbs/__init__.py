"""The verbs: each file is the story of one, and the Python call of that name."""
