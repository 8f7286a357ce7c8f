"""One channel, from bytes to done: receive, route, deliver, in order and never twice."""
