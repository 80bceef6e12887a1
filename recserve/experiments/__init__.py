"""Experiments: who gets which arm, what an arm changes, and what stops one."""
