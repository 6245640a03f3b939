"""Aurum Coach: a self-hostable AI coach that knows your life."""

import os

# Set before numpy is imported, which reads it then. OpenBLAS keeps threads for large products. Ours are small, and the
# threads spin after each and take the cores from the event loop and the database (docs/decisions/0012).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
