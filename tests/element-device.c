/* element-device.c - frames on their way to a GPU
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The element over the real engine and a random model, on the device that
 * ENGINE_DEVICE names. What the model answers to a frame in the GPU's own ways
 * must be what it answers to the RGB picture that plain C makes of it.
 */
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include "gst/gsthiredvlm-planes.h"
#include "gst/gsthiredvlm.h"
#include "gst/gstvlmmeta.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define WIDTH 61
#define HEIGHT 43

static gchar *folder;

static void
setup (void)
{
  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  folder = folder_new ();
  tiny_model_write (folder, NULL);
}

static void
teardown (void)
{
  folder_remove (folder);
}

static GstVideoInfo
info_of (const gchar *format)
{
  GstVideoInfo info;

  gst_video_info_set_format (
      &info, gst_video_format_from_string (format), WIDTH, HEIGHT);
  return info;
}

/* A picture with something in it, whatever the format. */
static GstBuffer *
frame_new (const GstVideoInfo *info)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info->size, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (guint8) (i * i / 97 + i / 3 % 64);
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = 0;
  GST_BUFFER_DURATION (buffer) = GST_SECOND;
  return buffer;
}

/* The same as RGB, by the reference. */
static GstBuffer *
rgb_new (const GstVideoInfo *info, GstBuffer *buffer)
{
  GstVideoInfo rgb = info_of ("RGB");
  GstBuffer *made = frame_new (&rgb);
  GstVideoRectangle whole = { 0, 0, WIDTH, HEIGHT };
  RgbCanvas canvas = { WIDTH, HEIGHT };
  g_autofree guint8 *bytes = g_malloc (3 * WIDTH * HEIGHT);
  Device *cpu = device_open ("cpu:plain", 1, NULL);
  GstVideoFrame frame;
  Pixels pixels;

  fail_unless (gst_video_frame_map (
      &frame, (GstVideoInfo *) info, buffer, GST_MAP_READ));
  gst_hired_vlm_planes_describe (&pixels, &frame, &whole);
  cpu->op->to_rgb (cpu, bytes, &pixels, &canvas);
  gst_video_frame_unmap (&frame);
  for (int y = 0; y < HEIGHT; y++)
    gst_buffer_fill (
        made, (gsize) y * rgb.stride[0], bytes + 3 * WIDTH * y, 3 * WIDTH);
  device_close (cpu);
  return made;
}

/* What the model says, and of what. Takes the buffer. */
static gchar *
answer (const gchar *device, const GstVideoInfo *info, GstBuffer *buffer)
{
  g_autofree gchar *line =
      g_strdup_printf ("hiredvlm model-path=%s device=%s max-tokens=3 "
                       "mode=sync detail=true weights=f32",
          folder, device);
  GstHarness *h = gst_harness_new_parse (line);
  static const gchar *const fields[] = { GST_VLM_TEXT, GST_VLM_TOKEN_IDS,
    GST_VLM_KEPT_IDS };
  g_autoptr (GstStructure) said = NULL;
  const GstStructure *caption;
  gchar *text;

  gst_harness_set_src_caps (h, gst_video_info_to_caps (info));
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  caption = gst_vlm_buffer_get_caption (buffer);
  fail_unless (caption != NULL);
  said = gst_structure_new_empty ("said");
  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    gst_structure_set_value (
        said, fields[i], gst_structure_get_value (caption, fields[i]));
  text = gst_structure_to_string (said);
  gst_buffer_unref (buffer);
  gst_harness_teardown (h);
  return text;
}

static const gchar *
device_name (void)
{
  const gchar *name = g_getenv ("ENGINE_DEVICE");

  return name ? name : "cpu";
}

static const gchar *const formats[] = { "BGRx", "NV12", "I420", "P010_10LE" };

GST_START_TEST (planes_are_the_rgb_they_mean)
{
  GstVideoInfo rgb = info_of ("RGB");

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstVideoInfo info = info_of (formats[i]);
    GstBuffer *buffer = frame_new (&info);
    g_autofree gchar *want =
        answer (device_name (), &rgb, rgb_new (&info, buffer));
    g_autofree gchar *got = answer (device_name (), &info, buffer);

    fail_unless_equals_string (got, want);
  }
}
GST_END_TEST;

static Suite *
element_device_suite (void)
{
  Suite *s = suite_create ("element-device");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 240);
  tcase_add_checked_fixture (tc, setup, teardown);
  tcase_add_test (tc, planes_are_the_rgb_they_mean);
  return s;
}

GST_CHECK_MAIN (element_device);
