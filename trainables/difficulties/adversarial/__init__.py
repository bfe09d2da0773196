"""Adversarial training: attacks, losses, and the difficulty that combines them."""
