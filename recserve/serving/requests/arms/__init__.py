"""Answers by the arms of experiments."""
