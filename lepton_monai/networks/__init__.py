"""MONAI's networks by name."""
