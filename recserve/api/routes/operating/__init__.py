"""Handlers for whoever operates a server: bundles and configuration."""
