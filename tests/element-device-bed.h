/* element-device-bed.h - a real model, and frames for it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/video/video.h>

#define WIDTH 61
#define HEIGHT 44 /* gst-cuda 1.22 overlaps planes of odd heights */

/* Checked fixtures: registers the element, writes a random model. */
void device_setup (void);
void device_teardown (void);

/* What ENGINE_DEVICE says, or "cpu". */
const gchar *device_name (void);

GstVideoInfo info_of (const gchar *format);

/* A picture with something in it, whatever the format. */
GstBuffer *frame_new (const GstVideoInfo *info);

/* The element in a harness, which plays. */
GstHarness *harness_new (const gchar *device, const gchar *properties);

/* What a caption says, and of what; owned. */
gchar *said (const GstStructure *caption);

/* What the model says to a frame, which is taken. */
gchar *answer (const gchar *device, GstCaps *caps, GstBuffer *buffer);
