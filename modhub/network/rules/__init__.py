"""What each operator means for units: which axes carry them on, which tie, open, read or mix them."""
