"""Aurum Coach: a self-hostable AI coach that knows your life."""

import os

# Before numpy is imported, which reads it then. Its products here are of a few vectors; the threads that OpenBLAS keeps
# for large ones spin after each, and take the cores from the event loop and the database (docs/decisions/0012).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
