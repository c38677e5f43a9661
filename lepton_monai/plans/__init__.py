"""Plans and runs: every number that a result depends on, and the folder that keeps them."""
