"""Parts of the language model's benchmark."""
