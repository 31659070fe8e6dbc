"""Rewrites that bring a network into normal form. Each returns an equal network, simpler to work on."""
