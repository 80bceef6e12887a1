"""Export, archive and restore of a store as Parquet."""
