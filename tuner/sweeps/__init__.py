"""Built-in sweeps, one YAML file each."""
