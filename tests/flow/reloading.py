"""Editing and reloading a desk: helpers and the fixture of the tests about it."""

from __future__ import annotations

from typing import ClassVar

import pytest
from desk import Desk, Scripted, ScriptedSettings, scripted

from engine.spec.component import Component, registry
from engine.store import commands

TWO = """
channels:
  adt:
    listener: {mllp: {port: 2575}}
    filters: [{condition: "msg['MSH-10'] != 'no'"}]
    destinations: {out: {scripted: {name: out}}}
  siu:
    listener: {mllp: {port: 2576}}
    destinations: {out: {scripted: {name: siu}}}
"""


class Fresh(Scripted):
    """A destination that is made anew each time, and writes down what becomes of it."""

    made: ClassVar[list[Fresh]] = []

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.batch_size, self.in_flight = settings.batch_size, settings.in_flight
        self.life = []
        Fresh.made.append(self)

    def start(self):
        self.life.append("start")
        return super().start()

    def stop(self):
        self.life.append("stop")
        return super().stop()


class FreshSettings(ScriptedSettings):
    def build(self, context):
        return Fresh(self)


@pytest.fixture(name="make")
def make_desk(tmp_path):
    key = ("destination", "fresh")
    desks = []
    with scripted() as destinations:
        registry.load()._components[key] = Component(*key, FreshSettings, "fresh: {name: x}")
        Fresh.made = []

        def make(text=TWO):
            desk = Desk(tmp_path, text)
            desks.append(desk)
            return desk, destinations

        yield make
        for desk in desks:
            desk.stop()
        del registry._components[key]


def begin(desk, **arguments):
    """Ask for a reload; gives the number of the command."""
    numbers = []
    desk.engine.writer.run(lambda tx: commands.add(tx, "test", "reload", arguments)).addCallback(
        numbers.append
    )
    desk.settle()
    desk.advance(0.25)
    return numbers[0]


def result(desk, number):
    found = commands.get(desk.engine.store.reader, number)
    assert found.state in ("taken", "done"), found
    return found.result


def reload(desk, text=None, **arguments):
    """Edit, reload, and give what became of it."""
    if text is not None:
        desk.path.write_text(text)
    number = begin(desk, **arguments)
    for _ in range(200):
        if (told := result(desk, number)) is not None:
            return told
        desk.advance(0.05)
    raise AssertionError("it does not end")


def version_of(desk, control_id):
    return desk.rows("SELECT config_version FROM message WHERE control_id = ?", control_id)[0][0]
