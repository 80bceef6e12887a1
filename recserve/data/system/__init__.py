"""What the operating system is asked for: durable files, and memory given back."""
