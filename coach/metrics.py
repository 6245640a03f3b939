"""What Prometheus may ask for. No label ever names a user."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TURNS = Counter("coach_turns", "Turns that have ended, by how.", ["outcome"])
TURNS_RUNNING = Gauge("coach_turns_running", "Turns that run now.", multiprocess_mode="livesum")
FIRST_TOKEN = Histogram(
    "coach_first_token_seconds",
    "From a question to the first piece of its answer.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
)
TOKENS = Counter("coach_tokens", "Tokens read and written by language models.", ["direction"])
QUOTA_REFUSALS = Counter("coach_quota_refusals", "Turns refused since the month was used up.")
RETRIEVAL = Histogram(
    "coach_retrieval_seconds",
    "Reading the context of one question.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
QUEUE_ROWS = Gauge(
    "coach_embedding_queue_rows", "Rows to embed, waiting or given up.", ["state"], multiprocess_mode="livemostrecent"
)
QUEUE_AGE = Gauge(
    "coach_embedding_queue_oldest_seconds", "How long the oldest has waited.", multiprocess_mode="livemostrecent"
)
EMBEDDED = Counter("coach_embedded_rows", "Rows that the worker was done with, or that failed.", ["outcome"])
EMBEDDER_PAUSES = Counter("coach_embedder_pauses", "Times that the embedder was away, refused us or was at its limit.")
JOBS_HELD = Gauge("coach_jobs_held", "Jobs that failed for good.", multiprocess_mode="livemostrecent")
CONNECTIONS = Gauge("coach_database_connections", "Of the pool, by state.", ["state"], multiprocess_mode="livesum")
WORKER_CRASHES = Counter("coach_worker_crashes", "Parts of the worker that died and were started anew.", ["part"])
SOCKETS = Gauge("coach_sockets", "Sockets that are open.", multiprocess_mode="livesum")
SOCKETS_CLOSED = Counter("coach_sockets_closed", "Sockets that this server closed, by close code.", ["code"])


def turn_ended(
    outcome: str, *, first_token_ms: int | None, input_tokens: int | None, output_tokens: int | None
) -> None:
    """Count one turn."""
    TURNS.labels(outcome).inc()
    if first_token_ms is not None:
        FIRST_TOKEN.observe(first_token_ms / 1000)
    TOKENS.labels("input").inc(input_tokens or 0)
    TOKENS.labels("output").inc(output_tokens or 0)
