"""The store on SQLAlchemy: SQLite on one node, PostgreSQL for several."""
