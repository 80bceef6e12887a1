"""What a person sees in a browser: the console, the documentation, and the calls made for the console."""
