"""Where results, artifacts and checkpoints are stored, and how they are read and written."""
