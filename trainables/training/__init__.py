"""Training of one network: steps, masks, epochs, evaluation."""
