"""Measures one of Python's queues, or its pipe, between two processes.

Arguments: what, how, the processors of the two sides, seconds of a turn, seconds of all turns. Prints the
median over the turns of the nanoseconds of one operation, and the share of the operations before which the
side that slept less was asleep.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import time

WHAT, HOW = sys.argv[1:3]
HERE, THERE = map(int, sys.argv[3:5])
TURN, WHOLE = map(float, sys.argv[5:7])
# Other work before each send, where both sides are to fall asleep.
THINK = 50e-6 if HOW == "park" else 0.0
FIRST = 0x5EED_0000_0000_0001
TURNS = 11


def item(i):
    if HOW == "objects":
        return {"number": FIRST + i, "price": float(i), "buys": i % 2 == 0}
    return FIRST + i


def think():
    if THINK:
        end = time.perf_counter() + THINK
        while time.perf_counter() < end:
            pass


def sleeps():
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def receive(end):
    if HOW == "poll":
        while not end.poll():
            pass
    return end.recv_bytes()


def consume(n, queue):
    for i in range(n):
        if queue.get() != item(i):
            raise SystemExit("wrong data")


def produce(n, queue):
    for i in range(n):
        queue.put(item(i))


def pong(n, end):
    for _ in range(n):
        got = receive(end)
        think()
        end.send_bytes(got)


def ping(n, end):
    for i in range(n):
        sent = (FIRST + i).to_bytes(8, "little")
        think()
        end.send_bytes(sent)
        if receive(end) != sent:
            raise SystemExit("wrong data")


def serve(end, work, channel, parent):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.sched_setaffinity(0, {THERE})
    while n := end.recv():
        before = sleeps()
        work(n, channel)
        end.send(sleeps() - before)


def main():
    context = multiprocessing.get_context("fork")
    if WHAT == "pipe":
        mine, theirs = context.Pipe()
        here, there = ping, pong
    else:
        mine = theirs = context.Queue() if WHAT == "queue" else context.SimpleQueue()
        here, there = produce, consume
    control, controlled = context.Pipe()
    child = context.Process(target=serve, args=(controlled, there, theirs, os.getpid()))
    child.start()
    os.sched_setaffinity(0, {HERE})

    def turn(n):
        control.send(n)
        before, start = sleeps(), time.perf_counter()
        here(n, mine)
        slept = sleeps() - before
        theirs = control.recv()
        return time.perf_counter() - start, slept, theirs

    n = 1
    while True:
        scale = TURN / min(turn(n)[0] for _ in range(3))
        if scale < 1.5:
            break
        n = int(n * min(scale, 8.0)) + 1
    figures, slept = [], [0, 0]
    begin = time.perf_counter()
    while True:
        elapsed = time.perf_counter() - begin
        if figures and elapsed > (WHOLE if len(figures) >= TURNS else 20 * WHOLE):
            break
        took, mine_slept, theirs_slept = turn(n)
        figures.append(took / n)
        slept = [slept[0] + mine_slept, slept[1] + theirs_slept]
    control.send(0)
    child.join()
    share = min(slept) / (n * len(figures))
    print((statistics.median(figures) - 2 * THINK) * 1e9, share)


main()
