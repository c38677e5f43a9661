"""Cases: an image, its label, whose they are, and on which side of the split."""
