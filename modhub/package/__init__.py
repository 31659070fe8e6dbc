"""A module as files: packing, verifying, and back to networks. Everything read is hostile."""
