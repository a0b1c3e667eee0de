/* element-device.c - frames on their way to a GPU
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The element over the real engine and a random model, on the device that
 * ENGINE_DEVICE names. What the model answers to a frame in the GPU's own ways
 * must be what it answers to the RGB picture that plain C makes of it.
 */
#include "gst/gsthiredvlm-planes.h"
#include "tests/element-device-bed.h"

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

static const gchar *const formats[] = { "BGRx", "NV12", "I420", "P010_10LE" };

GST_START_TEST (planes_are_the_rgb_they_mean)
{
  GstVideoInfo rgb = info_of ("RGB");

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstVideoInfo info = info_of (formats[i]);
    GstBuffer *buffer = frame_new (&info);
    g_autofree gchar *want = answer (
        device_name (), gst_video_info_to_caps (&rgb), rgb_new (&info, buffer));
    g_autofree gchar *got =
        answer (device_name (), gst_video_info_to_caps (&info), buffer);

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
  tcase_add_checked_fixture (tc, device_setup, device_teardown);
  tcase_add_test (tc, planes_are_the_rgb_they_mean);
  return s;
}

GST_CHECK_MAIN (element_device);
