"""What tests share: tiny trials and data sets, fake results and devices, injected faults."""
