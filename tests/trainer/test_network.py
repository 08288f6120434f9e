"""The interface towards another node is found from the routes."""

import socket

import pytest

from trainer.network import interface_towards


def test_the_loopback_leads_to_the_loopback() -> None:
    assert interface_towards("127.0.0.2") == "lo"


def test_a_name_that_does_not_resolve_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        interface_towards("no-such-host.invalid")
