"""State of a sweep in its storage besides results: record, driver lease, suggestions, measurements."""
