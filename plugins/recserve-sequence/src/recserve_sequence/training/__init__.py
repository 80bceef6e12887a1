"""How the network is trained: objective, schedule, validation."""
