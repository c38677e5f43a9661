"""What a person opens: masks and pictures."""
