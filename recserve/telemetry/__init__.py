"""Observability: metrics, traces and logs of a process, and the requests that they are about."""
