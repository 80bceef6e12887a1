"""What people ask the console, how many clicks it takes them, and whether the answer they read is right."""
