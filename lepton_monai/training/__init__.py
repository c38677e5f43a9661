"""Plan, loop and checkpoint of a training."""
