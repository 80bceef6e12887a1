"""Routes that speak the API of Gorse 0.5, for applications and clients that were written for it.

What is mapped how is in ``docs/how-to/migrate/from-gorse.md``. What cannot be mapped is answered with 501 and
a reason. As in Gorse, an error is a line of plain text, and unknown fields and parameters are passed over.
"""
