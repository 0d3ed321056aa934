"""The network: building, seeding, training, and the activations of its layers."""
