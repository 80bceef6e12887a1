"""Commands about what is served: answers, experiments."""
