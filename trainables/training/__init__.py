"""The training of one network: steps, masks, epochs, evaluation."""
