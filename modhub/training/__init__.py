"""Training and fine-tuning of classifiers, plainly or towards modularity. Needs torch and accelerate."""
