"""Files as people have them, made readable: compression, text encodings, spreadsheets."""
