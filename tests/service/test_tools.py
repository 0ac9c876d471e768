"""A program that an agent started has a name: its command, who started it, whose tool call it was."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from sidecar.core.facts.process import Process
from sidecar.core.reports import Diagnostic
from sidecar.intake.tools import AgentTools
from sidecar.watch.identity import identify, start_ticks
from tests.processes import waiting

GATEWAY = os.getpid()
"""The tests play the gateway: what they start descends from it."""


@pytest.fixture
def tools() -> AgentTools:
    return AgentTools(lambda: {GATEWAY: start_ticks(GATEWAY) or 0})


@pytest.fixture
def started() -> Iterator[int]:
    """A shell that a tool call started."""
    with waiting("sh", "-c", "echo; read line") as pid:
        yield pid


def call(what: str, run: str = "run-1", name: str = "exec", number: str = "1") -> Diagnostic:
    return Diagnostic(at="5", event=f"tool.execution.{what}", run=run, session="5e55", call=number, tool=name)


def label(tools: AgentTools, pid: int) -> str:
    return tools.named(identify(pid)).label()


def test_a_program_of_the_only_tool_call_is_told_with_its_run(tools: AgentTools, started: int) -> None:
    assert tools.heard(GATEWAY, call("started"))
    assert tools.heard(GATEWAY, call("started", run="run-2", name="read", number="2")), "this tool starts no program"
    assert label(tools, started) == (
        f"a program that the agent started: sh (process {started}), started by gateway {GATEWAY},"
        " in a tool call (exec) of run run-1"
    )
    tool = tools.named(identify(started)).tool
    assert tool is not None
    assert (tool.run_id, tool.session, tool.call, tool.gateway) == ("run-1", "5e55", "exec", GATEWAY)


def test_it_keeps_its_first_name_when_the_call_is_over(tools: AgentTools, started: int) -> None:
    tools.heard(GATEWAY, call("started"))
    first = label(tools, started)
    tools.heard(GATEWAY, call("completed"))
    assert label(tools, started) == first


@pytest.mark.parametrize("how", ["two", "ended", "another", "none", "lost"])
def test_no_run_is_named_where_it_is_not_known(tools: AgentTools, started: int, how: str) -> None:
    if how != "none":
        tools.heard(GATEWAY + how.count("another"), call("started"))
    if how == "two":
        tools.heard(GATEWAY, call("started", run="run-2", number="2"))
    if how == "ended":
        tools.heard(GATEWAY, call("error"))
    if how == "lost":
        tools.forget(GATEWAY)
    said = f"a program that the agent started: sh (process {started}), started by gateway {GATEWAY}"
    assert label(tools, started) == said


def test_other_events_are_not_about_a_tool_call(tools: AgentTools) -> None:
    assert not tools.heard(GATEWAY, Diagnostic(at="5", event="model.call.started"))


def test_a_stranger_the_gateway_and_one_that_is_gone_are_no_tools(tools: AgentTools) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for process in (identify(os.getppid()), identify(GATEWAY), Process(gone.pid, 5), Process(0)):
        assert tools.named(process) == process
