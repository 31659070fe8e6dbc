"""Registries: where releases are kept, published to, searched and fetched from."""
