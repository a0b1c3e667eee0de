/* element-common.h - what the tests of the element share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The element runs over the fake engine: real registry, scheduler and
 * streams, a model that sleeps and speaks as told.
 */
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/video/video.h>
#include "gst/gstvlmmeta.h"
#include "tests/fake-engine.h"

#define FRAME_NS (GST_SECOND / 30)
#define VIDEO_CAPS "video/x-raw,format=I420,width=64,height=48,framerate=30/1"

/* An element with a bus, a harness on video, and one on text if asked for. */
typedef struct {
  GstElement *element;
  GstBus *bus;
  GstHarness *video, *text;
} Bench;

/* Properties as in g_object_set, ending with NULL; model-path is set. The fake
 * engine must be configured before. */
void bench_init (
    Bench *bench, gboolean live, gboolean text, const gchar *property, ...);
void bench_clear (Bench *bench);

/* A grey frame of the harness' caps. */
GstBuffer *frame_new (GstClockTime pts, GstClockTime duration);
GstBuffer *grey_frame_new (GstClockTime pts, GstClockTime duration, guint8 y);

/* Pushes n frames from number `begin` on, at 30 a second. */
void push_frames (Bench *bench, guint begin, guint n);

/* The next message of the type, waiting for ten seconds; fails without. */
GstMessage *pop_message (Bench *bench, GstMessageType type);
/* Takes all messages posted so far: how many warnings and errors. */
void count_faults (Bench *bench, guint *warnings, guint *errors);
/* Waits for an element message of that name. */
GstStructure *pop_structure (Bench *bench, const gchar *name);

/* Waits for the next caption, which must say that. */
void expect_text (Bench *bench, const gchar *expected);

/* Pulls events of the text pad until its gaps reach `end`. */
void wait_for_gaps (Bench *bench, GstClockTime end);

/* Waits until loading is complete. */
void wait_loaded (Bench *bench);

/* A number of the element's stats. */
guint64 stat_of (Bench *bench, const gchar *field);

/* The text of a buffer, which is unreffed. */
gchar *text_of (GstBuffer *buffer);

/* Registers the element, resets the fake engine. Checked fixtures. */
void element_setup (void);
void element_teardown (void);
