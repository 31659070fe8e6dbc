"""Values and their rules: names, versions, ports, manifest, index, requirements, lock. No I/O, no arrays."""
