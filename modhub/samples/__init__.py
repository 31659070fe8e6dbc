"""What ships with modhub: a twentieth of CIFAR-10, and a network that knows it. NOTICE says whose they are."""
