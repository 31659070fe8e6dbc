"""One command a file; `modhub.cli.main` imports each only when it is called."""
