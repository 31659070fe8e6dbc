"""What modhub promises about strangers' files, tried out."""
