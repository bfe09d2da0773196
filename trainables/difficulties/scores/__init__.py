"""Scores that rank training samples. A score and its difficulty are one file in this folder."""
