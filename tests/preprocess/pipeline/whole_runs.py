"""Whole runs over real clips: helpers of tests."""

import functools

from stgcma.preprocess import Options
from stgcma.shards.storage import open_store

REAL = functools.partial(Options, features=("clip",))


def names_and_contents(location):
    store = open_store(location)
    return {name: store.read(name) for name in store.names()}


def upload(folder, url):
    store = open_store(url)
    for path in folder.rglob("*"):
        if path.is_file():
            store.publish(path.relative_to(folder).as_posix(), path.read_bytes())
