"""From stored images to the loss of a batch: device data, batches, augmentation, the network, random numbers."""
