/* gsthiredvlm-enums.c - enum types of the properties
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

static GType
enum_type (gsize *once, const gchar *name, const GEnumValue *values)
{
  if (g_once_init_enter (once)) {
    GType type = g_enum_register_static (name, values);

    gst_type_mark_as_plugin_api (type, 0);
    g_once_init_leave (once, type);
  }
  return *once;
}

GType
gst_hired_vlm_mode_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_HIRED_VLM_MODE_AUTO, "Sync from files, async from live sources",
        "auto" },
    { GST_HIRED_VLM_MODE_SYNC, "Video waits until a due frame is described",
        "sync" },
    { GST_HIRED_VLM_MODE_ASYNC,
        "Video never waits; the newest due frame is described", "async" },
    { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmMode", values);
}

GType
gst_hired_vlm_timing_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_HIRED_VLM_TIMING_AUTO,
        "Frame, or arrival on a live source without latency", "auto" },
    { GST_HIRED_VLM_TIMING_FRAME, "At the time of the described frame",
        "frame" },
    { GST_HIRED_VLM_TIMING_ARRIVAL, "At the time the caption is ready",
        "arrival" },
    { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmTiming", values);
}

GType
gst_hired_vlm_attach_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_HIRED_VLM_ATTACH_NEW, "On the first video buffer after a caption",
        "new" },
    { GST_HIRED_VLM_ATTACH_ALWAYS, "On every video buffer until the next",
        "always" },
    { GST_HIRED_VLM_ATTACH_NONE, "On no video buffer", "none" },
    { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmAttach", values);
}

GType
gst_hired_vlm_weights_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { VLM_WEIGHTS_AUTO,
        "f32 below 256 million parameters, else what the device is fast with",
        "auto" },
    { VLM_WEIGHTS_F32, "32 bit, exact; on a GPU of all that is multiplied",
        "f32" },
    { VLM_WEIGHTS_BF16, "16 bit, fast where the processor has them", "bf16" },
    { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmWeights", values);
}

GType
gst_hired_vlm_reuse_get_type (void)
{
  static gsize type;
  static const GFlagsValue values[] = {
    { VLM_REUSE_TILES, "Encoder states of tiles that did not change", "tiles" },
    { VLM_REUSE_PREFIX, "The key/value cache up to what differs", "prefix" },
    { VLM_REUSE_DRAFT, "The last caption, proposed as the next", "draft" },
    { 0, NULL, NULL }
  };

  if (g_once_init_enter (&type)) {
    GType made = g_flags_register_static ("GstHiredVlmReuse", values);

    gst_type_mark_as_plugin_api (made, 0);
    g_once_init_leave (&type, made);
  }
  return type;
}

GType
gst_hired_vlm_positions_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = { { VLM_POSITIONS_AUTO,
                                           "As the policy has it", "auto" },
    { VLM_POSITIONS_CLOSED, "Closed up: 0, 1, 2 ... over what is left",
        "closed" },
    { VLM_POSITIONS_WHOLE, "Where they would if nothing had been dropped",
        "whole" },
    { 0, NULL, NULL } };

  return enum_type (&type, "GstHiredVlmPositions", values);
}

GType
gst_hired_vlm_resampling_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { VLM_RESAMPLING_TORCHVISION, "As torchvision resizes", "torchvision" },
    { VLM_RESAMPLING_PILLOW, "As Pillow resizes", "pillow" }, { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmResampling", values);
}

GType
gst_hired_vlm_decode_attention_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = { { VLM_DECODE_FULL,
                                           "Everything before them", "full" },
    { VLM_DECODE_TIDAL,
        "In most layers a few tokens that two layers choose (TidalDecode); "
        "for long answers over thousands of tokens",
        "tidal" },
    { 0, NULL, NULL } };

  return enum_type (&type, "GstHiredVlmDecodeAttention", values);
}

GType
gst_hired_vlm_tidal_group_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { VLM_TIDAL_KV, "Tokens, for the query heads of a key head together",
        "kv" },
    { VLM_TIDAL_QUERY,
        "Tokens, for each query head, as the published evaluation", "query" },
    { VLM_TIDAL_PAGES,
        "Cache pages of 64 tokens, for each key head: the fastest", "pages" },
    { 0, NULL, NULL }
  };

  return enum_type (&type, "GstHiredVlmTidalGroup", values);
}

GType
gst_hired_vlm_budget_mode_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = { { GST_HIRED_VLM_BUDGET_FIXED,
                                           "Always token-budget", "fixed" },
    { GST_HIRED_VLM_BUDGET_ADAPTIVE,
        "From min-budget to token-budget, what keeps up with interval",
        "adaptive" },
    { 0, NULL, NULL } };

  return enum_type (&type, "GstHiredVlmBudgetMode", values);
}

/* One value per policy of the engine's list. */
GType
gst_hired_vlm_policy_get_type (void)
{
  static gsize type;

  if (g_once_init_enter (&type)) {
    guint n = 0;
    GEnumValue *values;
    GType made;

    while (vlm_policies[n])
      n++;
    values = g_new0 (GEnumValue, n + 1); /* kept by the type system */
    for (guint i = 0; i < n; i++)
      values[i] =
          (GEnumValue){ i, vlm_policies[i]->blurb, vlm_policies[i]->name };
    made = g_enum_register_static ("GstHiredVlmPolicy", values);
    gst_type_mark_as_plugin_api (made, 0);
    g_once_init_leave (&type, made);
  }
  return type;
}
