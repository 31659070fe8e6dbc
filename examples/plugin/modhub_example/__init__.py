"""What an outside package can add to modhub: a decomposer, a kind of registry and a glue, one a file."""
