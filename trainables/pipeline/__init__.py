"""Training pipeline: device data, batches, augmentation, network precision, losses and random generators."""
