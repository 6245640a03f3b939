"""What settings say about single models."""

from __future__ import annotations

import pytest

from coach.models.configure import LOADING_PATIENCE, Models, is_local
from coach.models.timeouts import PATIENT
from coach.settings import Settings


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:11434/v1", "http://localhost:1234/v1", "http://[::1]:8080/v1", "http://192.168.1.7/v1",
     "http://10.0.0.5:8000", "http://ollama:11434/v1", "http://gpu.local/v1", "http://host.docker.internal:11434/v1",
     "http://172.17.0.1/v1", "http://169.254.1.1/v1", "http://box.lan/v1"],
)  # fmt: skip
def test_addresses_of_this_machine_and_its_network_are_local(url):
    assert is_local(url)


@pytest.mark.parametrize(
    "url", [None, "https://api.openai.com/v1", "https://8.8.8.8/v1", "https://localhost.evil.com/v1"]
)
def test_others_are_not(url):
    assert not is_local(url)


def timeouts(base_url: str, **settings: object) -> tuple[float, bool, int]:
    models = Models(Settings(chat_model="m", openai_base_url=base_url, openai_api_key="k", _env_file=None, **settings))
    model = models.connect()._connected[0]
    return model._timeouts.first_token, model._may_load, model._ceiling


def test_the_patience_for_the_first_token_is_a_setting_of_each_model():
    assert timeouts("http://127.0.0.1:1/v1")[:2] == (LOADING_PATIENCE, True) == (120.0, True)
    assert timeouts("https://api.example.com/v1")[:2] == (PATIENT.first_token, False)
    assert timeouts("http://127.0.0.1:1/v1", model_limits={"m": {"first_token": 7}})[0] == 7
    assert timeouts("http://127.0.0.1:1/v1", model_limits={"other": {"first_token": 7}})[0] == 120


def test_the_ceiling_is_a_setting_of_each_model():
    assert timeouts("http://127.0.0.1:1/v1", model_limits={"m": {"answer_tokens": 12}})[2] == 12
