"""What the rankers over features share: counting, examples to learn from, the order they start from."""
