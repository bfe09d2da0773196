"""Running a sweep through Ray Tune, and watching it."""
