"""What an operator may set: good values, wrong values in one line, and secrets that never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from coach.errors import Misconfigured
from coach.settings import ModelLimits, Settings, load_settings, misspelt, variable_of

LONG = "x" * 40

GOOD = {
    "home": ("/srv/coach", Path("/srv/coach")),
    "database_url": ("postgresql://u:p%40ss@db:5432/app", "postgresql://u:p%40ss@db:5432/app"),
    "worker_database_url": ("postgresql://w@db/app", "postgresql://w@db/app"),
    "database_direct_url": ("postgres://db/app?sslmode=require", "postgres://db/app?sslmode=require"),
    "jwt_secret": (LONG, LONG),
    "jwks_url": ("https://id.example/jwks.json", "https://id.example/jwks.json"),
    "jwt_issuer": ("https://id.example", "https://id.example"),
    "jwt_audience": ("people", "people"),
    "openai_api_key": ("sk-1", "sk-1"),
    "openai_base_url": ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    "chat_model": ("gpt-4o", "gpt-4o"),
    "fallback_models": (" gpt-4o-mini , offline,", ("gpt-4o-mini", "offline")),
    "model_limits": ('{"m": {"first_token": 3600}}', {"m": ModelLimits(first_token=3600)}),
    "embedding_model": ("wordllama", "wordllama"),
    "allowed_origins": ("https://a.example, http://localhost:5173", ("https://a.example", "http://localhost:5173")),
    "monthly_limit": ("0", 0),
    "turn_timeout": ("0.5", 0.5),
    "turns_at_once": ("1", 1),
    "answer_max_tokens": ("1", 1),
    "answer_max_bytes": ("10000000", 10_000_000),
    "metrics_token": ("m-1", "m-1"),
    "log_level": ("debug", "debug"),
    "drain_grace": ("0", 0.0),
    "head_timeout": ("1", 1.0),
    "body_timeout": ("0.5", 0.5),
    "idle_timeout": ("3600", 3600.0),
    "pool_size": ("2", 2),
}

WRONG = [
    ("home", "~nobody-of-that-name/x"),
    ("database_url", "mysql://u:hush@db/app"),
    ("database_url", "db.internal"),
    ("database_url", "postgresql://u:hu@sh@db/app"),
    ("database_url", "postgresql://u:hu/sh@db/app"),
    ("database_url", "postgresql://u:hu:sh%@db/app"),
    ("database_url", "postgresql://[hush/app"),
    ("database_url", "postgresql://u:hush@db:port/app"),
    ("database_url", "postgresql://u:hush@db/app?nonsense=hush"),
    ("worker_database_url", "hush"),
    ("database_direct_url", "http://u:hush@db/app"),
    ("jwt_secret", "hush"),
    ("jwt_secret", "h" * 31),
    ("jwks_url", "id.example/jwks.json"),
    ("jwks_url", "file:///etc/passwd"),
    ("openai_base_url", "https://"),
    ("openai_api_key", "hush\nhush"),
    ("metrics_token", "hu sh"),
    ("metrics_token", "hüsh"),
    ("allowed_origins", "*"),
    ("allowed_origins", "https://*.example"),
    ("allowed_origins", "https://a.example/path"),
    ("allowed_origins", "a.example"),
    *(
        ("model_limits", wrong)
        for wrong in (
            "{",
            "[]",
            "7",
            '{"m": 7}',
            '{"m": {"first_token": 0}}',
            '{"m": {"first_token": 3601}}',
            '{"m": {"answer_tokens": 0}}',
            '{"m": {"answer_tokens": 1000001}}',
            '{"hush": {"frist": 3}}',
        )
    ),
    ("monthly_limit", "-1"),
    ("monthly_limit", "many"),
    ("monthly_limit", "1.5"),
    ("monthly_limit", "1000001"),
    ("turn_timeout", "0"),
    ("turn_timeout", "nan"),
    ("turn_timeout", "inf"),
    ("turn_timeout", "10m"),
    ("turns_at_once", "0"),
    ("turns_at_once", "1001"),
    ("answer_max_tokens", "0"),
    ("answer_max_bytes", "10000001"),
    ("log_level", "loud"),
    ("drain_grace", "-1"),
    ("drain_grace", "nan"),
    ("head_timeout", "0"),
    ("body_timeout", "3601"),
    ("idle_timeout", "soon"),
    ("pool_size", "1"),
    ("pool_size", "501"),
    ("pool_size", "two"),
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_of(field), raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def plain(value):
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_every_variable_has_a_case_an_example_and_a_line_of_meaning():
    assert set(GOOD) == set(Settings.model_fields)
    assert all(field.examples and field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("field", GOOD)
def test_a_good_value_is_taken(monkeypatch, field):
    given, expected = GOOD[field]
    monkeypatch.setenv(variable_of(field), given)
    assert plain(getattr(load_settings(), field)) == expected


@pytest.mark.parametrize("field", GOOD)
def test_an_empty_value_is_none_at_all(monkeypatch, field):
    before = getattr(load_settings(), field)
    monkeypatch.setenv(variable_of(field), "")
    assert getattr(load_settings(), field) == before


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_value_is_one_line_with_the_variable_and_an_example_and_without_the_value(monkeypatch, field, value):
    monkeypatch.setenv(variable_of(field), value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()

    said = str(caught.value)
    assert said.startswith(f"{variable_of(field)}: ")
    assert f"Example: {variable_of(field)}={Settings.model_fields[field].examples[0]}" in said
    assert "\n" not in said
    assert not any(part in said for part in ("hush", "hu sh", "hüsh", "h" * 31, "'sh"))
    assert caught.value.__cause__ is None


def test_the_first_of_several_wrong_values_is_named(monkeypatch):
    monkeypatch.setenv("COACH_MONTHLY_LIMIT", "many")
    monkeypatch.setenv("COACH_POOL_SIZE", "two")
    with pytest.raises(Misconfigured, match=r"COACH_(MONTHLY_LIMIT|POOL_SIZE): "):
        load_settings()


@pytest.mark.parametrize("field", ["home", "monthly_limit", "log_level", "pool_size"])
def test_the_examples_are_good_values_themselves(monkeypatch, field):
    monkeypatch.setenv(variable_of(field), Settings.model_fields[field].examples[0])
    load_settings()


def test_without_anything_set_it_is_the_laptop_that_needs_no_key():
    settings = load_settings()
    assert settings.database_url is None
    assert (settings.chat_model_name, settings.embedding_model_name) == ("offline", "wordllama")
    assert settings.home.is_absolute()


@pytest.mark.parametrize("given", [{"openai_api_key": "sk-1"}, {"openai_base_url": "http://127.0.0.1:1/v1"}])
def test_with_a_provider_its_usual_models_are_the_default(given):
    settings = load_settings(**given)
    assert (settings.chat_model_name, settings.embedding_model_name) == ("gpt-4o-mini", "text-embedding-3-small")


def test_the_usual_name_of_the_key_is_read_too_and_ours_wins(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-usual")
    assert load_settings().openai_api_key.get_secret_value() == "sk-usual"
    monkeypatch.setenv("COACH_OPENAI_API_KEY", "sk-ours")
    assert load_settings().openai_api_key.get_secret_value() == "sk-ours"
    monkeypatch.setenv("COACH_OPENAI_API_KEY", "")
    assert load_settings().openai_api_key.get_secret_value() == "sk-usual"


def test_a_file_named_env_is_read_and_the_environment_wins(monkeypatch):
    Path(".env").write_text("COACH_MONTHLY_LIMIT=7\nCOACH_POOL_SIZE=5\nOTHER=1\nCOACH_CHAT_MODEL=\n")
    monkeypatch.setenv("COACH_POOL_SIZE", "6")
    settings = load_settings()
    assert (settings.monthly_limit, settings.pool_size, settings.chat_model_name) == (7, 6, "offline")


def test_a_wrong_value_in_the_file_is_said_like_any_other():
    Path(".env").write_text("COACH_MONTHLY_LIMIT=many\n")
    with pytest.raises(Misconfigured, match="COACH_MONTHLY_LIMIT: "):
        load_settings()


def test_a_file_that_is_not_text_is_named():
    Path(".env").write_bytes(b"COACH_JWT_SECRET=\xff\xfe\n")
    with pytest.raises(Misconfigured, match=r"\.env cannot be read \(UnicodeDecodeError\)"):
        load_settings()


def test_a_tilde_in_the_home_is_ones_own(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("COACH_HOME", "~/coach")
    assert load_settings().home == Path("/home/ann/coach")


def test_a_home_that_is_not_absolute_does_not_move_with_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("COACH_HOME", "here")
    assert load_settings().home == tmp_path / "here"


def test_secrets_show_nowhere(monkeypatch):
    monkeypatch.setenv("COACH_DATABASE_URL", "postgresql://u:hush@db/app")
    monkeypatch.setenv("COACH_DATABASE_DIRECT_URL", "postgresql://u:hush@db/app")
    monkeypatch.setenv("COACH_JWT_SECRET", "hush" * 10)
    monkeypatch.setenv("COACH_OPENAI_API_KEY", "sk-hush")
    monkeypatch.setenv("COACH_METRICS_TOKEN", "hush")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model_dump()}"):
        assert "hush" not in shown


def test_settings_do_not_change_under_those_who_read_them():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().monthly_limit = 5


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COACH_MONTHLY_LIMT", "COACH_MONTHLY_LIMIT"),
        ("COACH_OPENAI_KEY", "COACH_OPENAI_API_KEY"),
        ("COACH_DB_URL", "COACH_DATABASE_URL"),
        ("coach_pool_sise", "COACH_POOL_SIZE"),
    ],
)
def test_a_typo_is_noticed_with_what_was_meant(monkeypatch, name, meant):
    monkeypatch.setenv(name, "5")
    assert misspelt() == [f"{name} is not a setting; did you mean {meant}?"]


def test_a_typo_in_the_file_is_noticed_and_a_strange_name_has_no_suggestion(monkeypatch):
    Path(".env").write_text("COACH_MONTHLY_LIMT=1\nMONTHLY=1\n")
    monkeypatch.setenv("COACH_TEAM_COLOUR", "red")
    assert misspelt() == [
        "COACH_MONTHLY_LIMT is not a setting; did you mean COACH_MONTHLY_LIMIT?",
        "COACH_TEAM_COLOUR is not a setting.",
    ]


def test_right_names_in_any_case_are_no_typos(monkeypatch):
    for field in Settings.model_fields:
        monkeypatch.setenv(variable_of(field), "1")
    monkeypatch.setenv("coach_home", "/srv")
    monkeypatch.setenv("COACH_TOKEN", "t")
    assert misspelt() == []


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:p@db/app?pgbouncer=true", "postgresql://u:p@db/app"),
        ("postgresql://u:p@db:6543/app?pgbouncer=true&connection_limit=1&sslmode=require",
         "postgresql://u:p@db:6543/app?sslmode=require"),
        ("postgresql://u:p@db/app?schema=public&pool_timeout=0", "postgresql://u:p@db/app"),
        ("postgresql://u:p@db/app?application_name=x&statement_cache_size=0", "postgresql://u:p@db/app?application_name=x"),
        ("postgresql:///app?host=/run/pg&prepared_statements=false", "postgresql:///app?host=/run/pg"),
        ("postgresql://u:p@db/app?", "postgresql://u:p@db/app"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["database_url", "worker_database_url", "database_direct_url"])
def test_what_other_programs_say_of_their_pools_is_passed_over(name, given, read):
    assert getattr(load_settings(**{name: given}), name).get_secret_value() == read


@pytest.mark.parametrize(
    ("query", "named", "remedy"),
    [
        ("schema=life", "schema", "public"),
        ("sslaccept=strict", "sslaccept", "sslmode"),
        ("pgbuoncer=hush", "pgbuoncer", "leave it out"),
    ],
)
def test_a_parameter_that_would_mislead_is_named(query, named, remedy):
    with pytest.raises(Misconfigured) as refused:
        load_settings(database_url=f"postgresql://u:hush@db/app?{query}")

    assert f"the parameter {named}," in str(refused.value)
    assert remedy in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_question_mark_in_a_password_is_no_parameter():
    url = "postgresql://u:hu?schema=ush@db/app"

    assert load_settings(database_url=url).database_url.get_secret_value() == url
