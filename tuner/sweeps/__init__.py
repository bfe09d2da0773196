"""The sweeps that come with the package, a YAML file each."""
