"""What is measured, row by row of the project's targets. `python -m benchmarks --help` lists them."""
