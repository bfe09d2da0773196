"""Storage of results, artifacts and checkpoints: file formats, readers and writers."""
