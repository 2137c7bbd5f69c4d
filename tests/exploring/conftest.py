"""An index of a few photos, and a server of it, for the tests of each file."""

import pytest
from support.explored import explored, serving

import openjepa


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return explored(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def index(home):
    return openjepa.open_index(home / "index")


@pytest.fixture(scope="module")
def client(index):
    with serving(index) as client:
        yield client
