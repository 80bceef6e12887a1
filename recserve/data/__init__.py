"""The field's nouns: items, users, events, catalogues, vocabularies, batches and datasets."""
