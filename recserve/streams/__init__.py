"""Streams: topics that are read into the store, and changes of the store that are passed on.

Imports aiokafka when a connection is made; everything else does without (`pip install 'recserve[kafka]'`).
"""
