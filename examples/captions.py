#!/usr/bin/env python3
# captions.py - captions of a film in Python, by all ways
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   captions.py FILM [MODEL]
#
# Prints each caption as a message of the bus, as JSON lines from an appsink,
# and as metadata on the video; then asks about the last frame. Needs Debian's
# python3-gi, gir1.2-gstreamer-1.0 and gir1.2-gst-plugins-base-1.0.
import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # noqa: E402, F401

LINE = """filesrc location="{}" ! decodebin3 ! hiredvlm name=v interval=2000000000
    max-tokens=20 ! fakesink name=video
    v.text_src ! application/x-json ! appsink name=json sync=false
    wait-on-eos=false"""


def say(*words):
    """A line in one piece: frames come on another thread than messages."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def on_video(pad, info):
    """The caption travels on the frame it is about."""
    meta = info.get_buffer().get_custom_meta("hiredvlm-caption")
    if meta:
        structure = meta.get_structure()
        say("meta:", structure.get_uint64("timestamp")[1] / Gst.SECOND,
            structure.get_string("text"))
    return Gst.PadProbeReturn.OK


def print_json(sink):
    while sample := sink.try_pull_sample(0):
        buffer = sample.get_buffer()
        caption = json.loads(buffer.extract_dup(0, buffer.get_size()))
        say("json:", caption["timestamp"] / 1e9, caption["text"])


def play(pipeline):
    """Until the end; True unless something went wrong."""
    bus = pipeline.get_bus()
    pipeline.set_state(Gst.State.PLAYING)
    while True:
        message = bus.timed_pop(Gst.CLOCK_TIME_NONE)
        structure = message.get_structure()
        if message.type == Gst.MessageType.ERROR:
            print(*message.parse_error(), file=sys.stderr)
            return False
        if message.type == Gst.MessageType.EOS:
            return True
        if structure and structure.get_name() == "hiredvlm-caption":
            say("message:", structure.get_uint64("timestamp")[1] / Gst.SECOND,
                structure.get_string("text"))


def ask(vlm, question):
    promise = Gst.Promise.new()
    vlm.emit("describe", question, promise)
    promise.wait()  # never in a callback of the element
    return promise.get_reply().get_string("text")


def main():
    Gst.init(None)
    pipeline = Gst.parse_launch(LINE.format(sys.argv[1]))
    vlm = pipeline.get_by_name("v")
    if len(sys.argv) > 2:
        vlm.set_property("model-path", sys.argv[2])
    pad = pipeline.get_by_name("video").get_static_pad("sink")
    pad.add_probe(Gst.PadProbeType.BUFFER, lambda *args: on_video(*args))
    # Asked once, the element keeps the last frame for more questions.
    first = Gst.Promise.new()
    vlm.emit("describe", "What is it?", first)
    good = play(pipeline)
    if good:
        say("answer:", first.get_reply().get_string("text"))
        say("answer:", ask(vlm, "What colour is it?"))
        print_json(pipeline.get_by_name("json"))
    pipeline.set_state(Gst.State.NULL)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
