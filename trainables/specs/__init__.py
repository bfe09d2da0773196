"""Specifications: frozen, validated, hashed values without PyTorch and without Ray."""
