"""The SQL store by concern: one class for each protocol of :mod:`recserve.store.protocol`."""
