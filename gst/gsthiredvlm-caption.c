/* gsthiredvlm-caption.c - what was said: structure, meta, JSON, cue text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-caption.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

void
gst_hired_vlm_caption_register (void)
{
  static gsize once = 0;
  /* No tags: nothing that scales or converts a picture makes its caption
   * wrong. The list must not be NULL. */
  static const gchar *tags[] = { NULL };

  if (g_once_init_enter (&once)) {
    gst_meta_register_custom (GST_VLM_CAPTION, tags, NULL, NULL, NULL);
    gst_meta_register_custom (GST_VLM_PROMPT_CHANGE, tags, NULL, NULL, NULL);
    g_once_init_leave (&once, 1);
  }
}

gchar *
gst_hired_vlm_clean_text (const gchar *text, gboolean single_line)
{
  g_autofree gchar *valid = g_utf8_make_valid (text ? text : "", -1);
  GString *out = g_string_new (NULL);
  gboolean space = FALSE;

  for (const gchar *p = valid; *p; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (single_line && g_unichar_isspace (c)) {
      space = TRUE;
      continue;
    }
    if (g_unichar_iscntrl (c) && c != '\n' && c != '\t')
      continue;
    if (space && out->len > 0)
      g_string_append_c (out, ' ');
    space = FALSE;
    g_string_append_unichar (out, c);
  }
  return g_strstrip (g_string_free (out, FALSE));
}

static void
set_time (GstStructure *s, const gchar *field, guint64 time)
{
  if (GST_CLOCK_TIME_IS_VALID (time))
    gst_structure_set (s, field, G_TYPE_UINT64, time, NULL);
}

static void
set_us (GstStructure *s, const gchar *field, gint64 us)
{
  set_time (s, field, (guint64) MAX (us, 0) * GST_USECOND);
}

static void
set_ints (GstStructure *s, const gchar *field, const int *data, int n)
{
  GValue array = G_VALUE_INIT;

  g_value_init (&array, GST_TYPE_ARRAY);
  for (int i = 0; i < n; i++) {
    GValue value = G_VALUE_INIT;

    g_value_init (&value, G_TYPE_INT);
    g_value_set_int (&value, data[i]);
    gst_value_array_append_and_take_value (&array, &value);
  }
  gst_structure_take_value (s, field, &array);
}

static void
set_geometry (GstStructure *s, const VlmTileGeometry *g)
{
  g_autoptr (GstStructure) geometry =
      gst_structure_new (GST_VLM_GEOMETRY, "side", G_TYPE_INT, g->side,
          "tile-px", G_TYPE_INT, g->tile_px, "rows", G_TYPE_INT, g->rows,
          "cols", G_TYPE_INT, g->cols, "width", G_TYPE_INT, g->img_w, "height",
          G_TYPE_INT, g->img_h, "fit-width", G_TYPE_INT, g->fit_w, "fit-height",
          G_TYPE_INT, g->fit_h, "pad-x", G_TYPE_INT, g->pad_x, "pad-y",
          G_TYPE_INT, g->pad_y, "unpad", G_TYPE_INT, g->unpad ? 1 : 0, NULL);

  gst_structure_set (s, GST_VLM_GEOMETRY, GST_TYPE_STRUCTURE, geometry, NULL);
}

static void
set_detail (GstStructure *s, const VlmResult *r)
{
  gst_structure_set (
      s, GST_VLM_RENDERED_PROMPT, G_TYPE_STRING, r->rendered_prompt, NULL);
  set_ints (s, GST_VLM_PROMPT_IDS, r->prompt_ids, r->n_prompt_ids);
  set_ints (s, GST_VLM_TOKEN_IDS, r->token_ids, r->token_ids ? r->tokens : 0);
  set_ints (s, GST_VLM_GRID, r->grid, 2);
  set_ints (s, GST_VLM_TILE_BUDGETS, r->tile_budgets, r->n_tiles);
  set_ints (s, GST_VLM_KEPT_IDS, r->kept_ids, r->n_kept);
  if (r->n_fine_layers)
    set_ints (s, GST_VLM_FINE_TOKENS, r->layer_fine_tokens, r->n_fine_layers);
  set_geometry (s, &r->geometry);
}

GstStructure *
gst_hired_vlm_caption_new (const GstHiredVlmFrame *frame, const VlmResult *r,
    const gchar *text, const gchar *model, guint64 seq, guint64 lag,
    gboolean detail)
{
  GstStructure *s = gst_structure_new (GST_VLM_CAPTION, GST_VLM_TEXT,
      G_TYPE_STRING, text, GST_VLM_PROMPT, G_TYPE_STRING,
      r->prompt ? r->prompt : "", GST_VLM_STREAM_ID, G_TYPE_STRING,
      frame->stream_id ? frame->stream_id : "", GST_VLM_MODEL, G_TYPE_STRING,
      model ? model : "", GST_VLM_POLICY, G_TYPE_STRING, r->policy,
      GST_VLM_FINISH, G_TYPE_STRING, r->finish_reason, GST_VLM_SEQ,
      G_TYPE_UINT64, seq, NULL);

  set_time (s, GST_VLM_TIMESTAMP, frame->timestamp);
  set_time (s, GST_VLM_STREAM_TIME, frame->stream_time);
  set_time (s, GST_VLM_RUNNING_TIME, frame->running_time);
  set_time (s, GST_VLM_DURATION, frame->duration);
  set_time (s, GST_VLM_LAG, lag);
  gst_structure_set (s, GST_VLM_IMAGE_TOKENS, G_TYPE_UINT, r->image_tokens,
      GST_VLM_IMAGE_TOKENS_KEPT, G_TYPE_UINT, r->image_tokens_kept,
      GST_VLM_PROMPT_TOKENS, G_TYPE_UINT, r->prompt_tokens, GST_VLM_TOKENS,
      G_TYPE_UINT, r->tokens, GST_VLM_TOKEN_BUDGET, G_TYPE_DOUBLE,
      r->token_budget, GST_VLM_TOKENS_PER_SECOND, G_TYPE_DOUBLE,
      r->tokens_per_second, NULL);
  set_us (s, GST_VLM_QUEUE_TIME, r->queue_us);
  set_us (s, GST_VLM_VISION_TIME, r->vision_us);
  set_us (s, GST_VLM_PREFILL_TIME, r->prefill_us);
  set_us (s, GST_VLM_TTFT, r->ttft_us);
  set_us (s, GST_VLM_TOTAL_TIME, r->total_us);
  if (detail && r->rendered_prompt)
    set_detail (s, r);
  return s;
}

static JsonNode *structure_node (const GstStructure *structure);

static JsonNode *
array_node (const GValue *value)
{
  g_autoptr (JsonArray) array = json_array_new ();

  for (guint i = 0; i < gst_value_array_get_size (value); i++)
    json_array_add_int_element (
        array, g_value_get_int (gst_value_array_get_value (value, i)));
  return json_node_init_array (json_node_alloc (), array);
}

static JsonNode *
double_node (gdouble x)
{
  /* JSON has no infinity. */
  return json_node_init_double (json_node_alloc (), isfinite (x) ? x : 0);
}

static JsonNode *
value_node (const GValue *value)
{
  JsonNode *node = json_node_alloc ();
  g_auto (GValue) number = G_VALUE_INIT;

  if (G_VALUE_HOLDS_STRING (value))
    return json_node_init_string (node, g_value_get_string (value));
  if (G_VALUE_HOLDS_BOOLEAN (value))
    return json_node_init_boolean (node, g_value_get_boolean (value));
  json_node_unref (node);
  if (GST_VALUE_HOLDS_ARRAY (value))
    return array_node (value);
  if (GST_VALUE_HOLDS_STRUCTURE (value))
    return structure_node (gst_value_get_structure (value));
  if (G_VALUE_HOLDS_DOUBLE (value))
    return double_node (g_value_get_double (value));
  g_value_init (&number, G_TYPE_INT64);
  if (!g_value_transform (value, &number))
    return json_node_init_null (json_node_alloc ());
  return json_node_init_int (json_node_alloc (), g_value_get_int64 (&number));
}

static gboolean
add_member (GQuark field, const GValue *value, gpointer object)
{
  json_object_set_member (
      object, g_quark_to_string (field), value_node (value));
  return TRUE;
}

static JsonNode *
structure_node (const GstStructure *structure)
{
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_init_object (json_node_alloc (), object);

  gst_structure_foreach (structure, add_member, object);
  json_object_unref (object);
  return node;
}

gchar *
gst_hired_vlm_structure_to_json (const GstStructure *structure)
{
  g_autoptr (JsonNode) node = structure_node (structure);

  return json_to_string (node, FALSE);
}

static gchar *
without_arrows (const gchar *text)
{
  g_auto (GStrv) parts = g_strsplit (text, "-->", -1);

  return g_strjoinv ("\342\206\222", parts);
}

/* Quotes need no escape in text, and not every reader of WebVTT knows it. */
static gchar *
escape_markup (const gchar *text)
{
  GString *out = g_string_new (NULL);

  for (; *text; text++) {
    if (*text == '&')
      g_string_append (out, "&amp;");
    else if (*text == '<')
      g_string_append (out, "&lt;");
    else if (*text == '>')
      g_string_append (out, "&gt;");
    else
      g_string_append_c (out, *text);
  }
  return g_string_free (out, FALSE);
}

gchar *
gst_hired_vlm_caption_payload (
    const GstStructure *caption, GstHiredVlmFormat format)
{
  g_autofree gchar *text = NULL;
  g_autofree gchar *json = NULL;

  if (format == GST_HIRED_VLM_FORMAT_JSON) {
    json = gst_hired_vlm_structure_to_json (caption);
    return g_strconcat (json, "\n", NULL);
  }
  text = without_arrows (gst_vlm_caption_get_text (caption));
  if (*text == '\0')
    return NULL;
  if (format == GST_HIRED_VLM_FORMAT_PANGO)
    return escape_markup (text);
  return g_steal_pointer (&text);
}

static gboolean
copy_field (GQuark field, const GValue *value, gpointer structure)
{
  gst_structure_id_set_value (structure, field, value);
  return TRUE;
}

void
gst_hired_vlm_caption_attach (GstBuffer *buffer, const GstStructure *caption)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, GST_VLM_CAPTION);
  GstStructure *s;

  if (meta == NULL)
    meta = gst_buffer_add_custom_meta (buffer, GST_VLM_CAPTION);
  s = gst_custom_meta_get_structure (meta);
  gst_structure_remove_all_fields (s);
  gst_structure_foreach (caption, copy_field, s);
}
