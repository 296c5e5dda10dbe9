"""What is kept of every run: the store, its migrations, artifacts and frames."""
