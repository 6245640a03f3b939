"""Connection URLs as other programs write them: with parameters of poolers and of their own pools."""

from __future__ import annotations

NEEDLESS = frozenset(
    {
        "pgbouncer", "supavisor", "workaround", "connection_limit", "pool_timeout", "pool_size", "max_connections",
        "statement_cache_size", "prepared_statement_cache_size", "prepared_statements", "prepare_threshold",
        "preparethreshold", "binary_parameters", "socket_timeout", "pool_mode", "default_query_exec_mode",
    }
)  # fmt: skip
"""Said for nothing here: every pooler is supported, no statement is prepared, and our pools have settings of theirs."""

REMEDIES = {
    "schema": "the tables are in public; leave it out",
    "search_path": "the tables are in public; leave it out",
    "sslaccept": "write sslmode=require, or sslmode=verify-full with sslrootcert",
    "sslcert_mode": "write sslmode",
    "sslidentity": "write sslcert and sslkey",
    "host_addr": "write hostaddr",
}


def without_pooler_parameters(url: str) -> str:
    """``url`` for libpq: what is needless here is gone.

    :raises ValueError: a parameter that libpq does not know, by its name; never its value, nor a part of a password.
    """
    whole, mark, query = url.partition("?")
    if not mark or "@" in query:  # an @ in the query: it is the end of a password that was not encoded
        return url
    kept = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.lower() in NEEDLESS or (name == "schema" and value == "public") or not pair:
            continue
        if name not in _known():
            remedy = REMEDIES.get(name, "leave it out, or write it as libpq does")
            raise ValueError(f"has the parameter {name[:40]}, which PostgreSQL does not know: {remedy}")
        kept.append(pair)
    return whole + (f"?{'&'.join(kept)}" if kept else "")


def _known() -> frozenset[str]:
    from psycopg import pq

    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults()) | {"ssl"}
