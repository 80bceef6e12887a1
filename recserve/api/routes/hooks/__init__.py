"""Hooks: bodies that other programs post in their own form, signed, and mapped to events here."""
