"""The test database that stands for Supabase grants what Supabase grants, and no more."""

from __future__ import annotations

import psycopg

from tests.migration.conftest import Supabase


def test_its_postgres_is_no_superuser_and_its_service_role_may_not_read_accounts(supabase: Supabase) -> None:
    with psycopg.connect(supabase.url) as connection:
        assert connection.execute("""
            select rolsuper, rolbypassrls, pg_has_role('supabase_auth_admin', 'member'),
                has_table_privilege('service_role', 'auth.users', 'select'), extnamespace::regnamespace::text
            from pg_roles
            join pg_extension on extname = 'vector'
            where rolname = current_user
        """).fetchone() == (False, True, False, False, "extensions")
