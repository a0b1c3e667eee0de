/* element-device-bed.c - a real model, and frames for it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-device-bed.h"

#include "gst/gsthiredvlm.h"
#include "gst/gstvlmmeta.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

static gchar *folder;

void
device_setup (void)
{
  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  folder = folder_new ();
  tiny_model_write (folder, NULL);
}

void
device_teardown (void)
{
  folder_remove (folder);
}

const gchar *
device_name (void)
{
  const gchar *name = g_getenv ("ENGINE_DEVICE");

  return name ? name : "cpu";
}

GstVideoInfo
info_of (const gchar *format)
{
  GstVideoInfo info;

  gst_video_info_set_format (
      &info, gst_video_format_from_string (format), WIDTH, HEIGHT);
  return info;
}

GstBuffer *
frame_new (const GstVideoInfo *info)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info->size, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (guint8) (i * i / 97 + i / 3 % 64);
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = 0;
  GST_BUFFER_DURATION (buffer) = GST_SECOND / 30;
  return buffer;
}

GstHarness *
harness_new (const gchar *device, const gchar *properties)
{
  g_autofree gchar *line =
      g_strdup_printf ("hiredvlm model-path=%s device=%s max-tokens=3 "
                       "mode=sync interval=0 detail=true %s",
          folder, device, properties);

  return gst_harness_new_parse (line);
}

gchar *
said (const GstStructure *caption)
{
  static const gchar *const fields[] = { GST_VLM_TEXT, GST_VLM_TOKEN_IDS,
    GST_VLM_KEPT_IDS };
  g_autoptr (GstStructure) s = gst_structure_new_empty ("said");

  fail_unless (caption != NULL);
  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    gst_structure_set_value (
        s, fields[i], gst_structure_get_value (caption, fields[i]));
  return gst_structure_to_string (s);
}

gchar *
answer (const gchar *device, GstCaps *caps, GstBuffer *buffer)
{
  GstHarness *h = harness_new (device, "");
  gchar *text;

  gst_harness_set_src_caps (h, caps);
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  text = said (gst_vlm_buffer_get_caption (buffer));
  gst_buffer_unref (buffer);
  gst_harness_teardown (h);
  return text;
}
