"""What a sweep keeps in its storage besides results: its record, its lease, suggestions, measurements."""
