# peer.py - hiredvlm's own side of a comparison with a peer
# SPDX-License-Identifier: LGPL-2.1-or-later
import argparse
import json
import os
import statistics
import subprocess

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "pipelines", "hiredvlm-bench")


def parser(shapes):
    p = argparse.ArgumentParser()
    p.add_argument("--bench", default=BENCH)
    p.add_argument("--shape", default="llava-v1.6-vicuna-7b", choices=shapes)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--weights", default="bf16", choices=["bf16", "f32"])
    p.add_argument("--size", default="672x672")
    p.add_argument("--tokens", type=int, default=16)
    p.add_argument("--budget", type=float, default=0.2)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=3)
    return p


def bench(a, budget):
    """{phase: ms} of hiredvlm-bench, the encoder with its projector, and the prompt's tokens."""
    run = subprocess.run([a.bench, "--shape", a.shape, "--layers", str(a.layers), "--weights", a.weights, "--size",
                          a.size, "--tokens", str(a.tokens), "--token-budget", str(budget), "--threads",
                          str(a.threads), "--device", "cpu", "--no-probes", "--json"],
                         check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    ms = {name: phase["ms"] for name, phase in found["phases"].items()}
    ms["vision and projector"] = ms["vision"] + ms["policy"] + ms["projector"]
    ms["first token"] = found["phases"]["frame"]["first_token_ms"]
    return ms, found["prompt_tokens"]


def table(a, names, rounds, phases):
    """Medians of the rounds, and how many times as fast as the first way each other is."""
    print(f"{a.shape}, {a.layers} layers, {a.weights}, {a.size}, {a.threads} threads; ms, and times as fast")
    print("| phase | " + " | ".join(names) + " |\n|" + " --- |" * (len(names) + 1))
    for phase in phases:
        ms = [statistics.median(ways[i][phase] for ways in rounds) for i in range(len(names))]
        print(f"| {phase} | {ms[0]:.1f} | " + " | ".join(f"{x:.1f}, {ms[0] / x:.2f}" for x in ms[1:]) + " |")
