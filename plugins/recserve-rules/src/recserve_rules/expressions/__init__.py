"""The language of conditions and the values that it reads."""
