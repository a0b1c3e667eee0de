/* describe-run.c - the pipeline of hiredvlm-describe
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   uridecodebin -> hiredvlm -> fakesink
 *
 * One pipeline for all inputs: between two it goes to READY and gets a new
 * source, and the element keeps its model.
 */
#include <gst/video/video.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "gst/gsthiredvlm-caption.h"
#include "gst/gstvlmmeta.h"
#include "pipelines/describe.h"

#define TICK (GST_SECOND / 5)

struct Describe {
  const DescribeOptions *options;
  GstElement *pipeline, *source, *vlm;
  gboolean terminal; /* progress is shown */
  gboolean progress_shown;
  GPtrArray *frames; /* of GstSample: the last frame of each policy */
  /* the input at hand */
  const char *input, *policy; /* policy: NULL unless there are several */
  gint still;                 /* atomic: a picture, not a video */
  gboolean linked;
  int n_captions;
  /* the newest described frame, for the picture; the streaming thread's */
  GMutex lock;
  GstSample *frame;
};

/* ---- printing ---- */

static void
clear_progress (Describe *d)
{
  if (d->progress_shown)
    fputs ("\r\033[K", stderr);
  d->progress_shown = FALSE;
}

static void
show_progress (Describe *d, const char *text)
{
  if (!d->terminal)
    return;
  fprintf (stderr, "\r\033[K%s", text);
  fflush (stderr);
  d->progress_shown = TRUE;
}

static gboolean
is_detail (const char *field)
{
  static const char *const fields[] = { GST_VLM_RENDERED_PROMPT,
    GST_VLM_PROMPT_IDS, GST_VLM_TOKEN_IDS, GST_VLM_GRID, GST_VLM_TILE_BUDGETS,
    GST_VLM_KEPT_IDS, GST_VLM_FINE_TOKENS, GST_VLM_GEOMETRY, NULL };
  return g_strv_contains (fields, field);
}

static gboolean
drop_detail (GQuark field, GValue *value, gpointer user_data)
{
  return !is_detail (g_quark_to_string (field));
}

static void
print_json (Describe *d, const GstStructure *caption)
{
  g_autoptr (GstStructure) copy = gst_structure_copy (caption);
  if (!d->options->detail)
    gst_structure_filter_and_map_in_place (copy, drop_detail, NULL);
  gst_structure_set (copy, "file", G_TYPE_STRING, d->input, NULL);
  g_autofree char *json = gst_hired_vlm_structure_to_json (copy);
  puts (json);
}

static void
print_text (Describe *d, const GstStructure *caption)
{
  const char *text = gst_vlm_caption_get_text (caption);
  guint64 time = gst_vlm_caption_get_time (caption, GST_VLM_STREAM_TIME);
  gboolean still = g_atomic_int_get (&d->still);
  if (d->options->inputs[1] && (still || d->n_captions == 0))
    printf (still ? "%s: " : "%s:\n", d->input);
  if (d->policy)
    printf ("%s: ", d->policy);
  if (!still && GST_CLOCK_TIME_IS_VALID (time))
    printf ("%u:%02u:%02u.%u  ", (guint) (time / (3600 * GST_SECOND)),
        (guint) (time / (60 * GST_SECOND) % 60),
        (guint) (time / GST_SECOND % 60),
        (guint) (time / (GST_SECOND / 10) % 10));
  puts (text);
}

static void
print_caption (Describe *d, const GstStructure *caption)
{
  clear_progress (d);
  if (d->options->json)
    print_json (d, caption);
  else
    print_text (d, caption);
  d->n_captions++;
  fflush (stdout);
}

static void
show_position (Describe *d)
{
  gint64 position, duration;
  if (!d->terminal || g_atomic_int_get (&d->still) ||
      !gst_element_query_position (d->vlm, GST_FORMAT_TIME, &position))
    return;
  g_autofree char *text = NULL;
  double at = (double) position / GST_SECOND;
  if (gst_element_query_duration (d->vlm, GST_FORMAT_TIME, &duration) &&
      duration > 0)
    text = g_strdup_printf ("%.1f of %.1f s, %.0f %%", at,
        (double) duration / GST_SECOND, 100.0 * position / duration);
  else
    text = g_strdup_printf ("%.1f s", at);
  show_progress (d, text);
}

static void
show_loading (Describe *d, GstMessage *message)
{
  GstProgressType type;
  g_autofree char *code = NULL, *text = NULL;
  gst_message_parse_progress (message, &type, &code, &text);
  if (type == GST_PROGRESS_TYPE_COMPLETE)
    clear_progress (d);
  else
    show_progress (d, text);
}

/* ---- the pipeline ---- */

static void
on_type (GstElement *typefind, guint probability, GstCaps *caps, gpointer data)
{
  Describe *d = data;
  const char *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));
  if (g_str_has_prefix (name, "image/"))
    g_atomic_int_set (&d->still, TRUE);
}

/* What the decoder finds out about the file: a picture or a video. */
static void
on_element (GstBin *bin, GstBin *sub, GstElement *element, gpointer data)
{
  GstElementFactory *factory = gst_element_get_factory (element);
  const char *name = factory ? GST_OBJECT_NAME (factory) : "";
  if (g_str_equal (name, "typefind"))
    g_signal_connect (element, "have-type", G_CALLBACK (on_type), data);
}

static void
on_pad (GstElement *source, GstPad *pad, gpointer data)
{
  Describe *d = data;
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  g_autoptr (GstPad) sink = gst_element_get_static_pad (d->vlm, "sink");
  if (!caps)
    caps = gst_pad_query_caps (pad, NULL);
  const char *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));
  if (g_str_has_prefix (name, "video/x-raw") && !gst_pad_is_linked (sink))
    d->linked = GST_PAD_LINK_SUCCESSFUL (gst_pad_link (pad, sink));
}

/* Keeps the newest buffer that carries a caption: as files are described in
 * step, that is the described frame itself. */
static GstPadProbeReturn
on_buffer (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Describe *d = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  if (!gst_vlm_buffer_get_caption (buffer))
    return GST_PAD_PROBE_OK;
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  g_mutex_lock (&d->lock);
  g_clear_pointer (&d->frame, gst_sample_unref);
  d->frame = gst_sample_new (buffer, caps, NULL, NULL);
  g_mutex_unlock (&d->lock);
  return GST_PAD_PROBE_OK;
}

static GstElement *
make (const char *factory, GError **error)
{
  GstElement *element = gst_element_factory_make (factory, NULL);
  if (!element)
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
        "GStreamer has no element %s; is its plugin installed or named in "
        "GST_PLUGIN_PATH?",
        factory);
  return element;
}

static gboolean
set_properties (Describe *d, GError **error)
{
  const DescribeOptions *o = d->options;
  const struct {
    const char *name, *text;
  } known[] = {
    { "model-path", o->model },
    { "prompt", o->prompt },
    { "token-budget", o->token_budget },
    { "max-tokens", o->max_tokens },
  };
  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    if (known[i].text &&
        !describe_set_property (d->vlm, known[i].name, known[i].text, error))
      return FALSE;
  if (o->interval >= 0)
    g_object_set (
        d->vlm, "interval", (guint64) (o->interval * GST_SECOND), NULL);
  if (o->detail || o->picture)
    g_object_set (d->vlm, "detail", TRUE, NULL);
  for (char **set = o->set; set && *set; set++) {
    g_auto (GStrv) parts = g_strsplit (*set, "=", 2);
    if (!parts[0] || !parts[1]) {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
          "--set needs PROPERTY=VALUE, but got \"%s\".", *set);
      return FALSE;
    }
    if (!describe_set_property (d->vlm, parts[0], parts[1], error))
      return FALSE;
  }
  return TRUE;
}

static void
watch_frames (Describe *d)
{
  g_autoptr (GstPad) src = gst_element_get_static_pad (d->vlm, "src");
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, on_buffer, d, NULL);
}

Describe *
describe_new (const DescribeOptions *options, GError **error)
{
  g_autoptr (Describe) d = g_new0 (Describe, 1);
  g_mutex_init (&d->lock);
  d->options = options;
  d->frames =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_sample_unref);
  d->terminal = isatty (STDERR_FILENO);
  d->pipeline = gst_object_ref_sink (gst_pipeline_new (NULL));
  d->vlm = make ("hiredvlm", error);
  GstElement *sink = d->vlm ? make ("fakesink", error) : NULL;
  if (!sink)
    return NULL;
  g_object_set (sink, "sync", FALSE, NULL);
  gst_bin_add_many (GST_BIN (d->pipeline), d->vlm, sink, NULL);
  gst_element_link (d->vlm, sink);
  g_signal_connect (
      d->pipeline, "deep-element-added", G_CALLBACK (on_element), d);
  if (options->picture)
    watch_frames (d);
  return set_properties (d, error) ? g_steal_pointer (&d) : NULL;
}

void
describe_free (Describe *d)
{
  if (!d)
    return;
  gst_element_set_state (d->pipeline, GST_STATE_NULL);
  gst_object_unref (d->pipeline);
  g_clear_pointer (&d->frame, gst_sample_unref);
  g_ptr_array_unref (d->frames);
  g_mutex_clear (&d->lock);
  g_free (d);
}

/* ---- one input ---- */

static char *
uri_of (const char *input, GError **error)
{
  if (gst_uri_is_valid (input))
    return g_strdup (input);
  if (!g_file_test (input, G_FILE_TEST_EXISTS)) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
        "%s: a file was expected, but there is none.", input);
    return NULL;
  }
  return gst_filename_to_uri (input, error);
}

static gboolean
set_source (Describe *d, const char *uri, GError **error)
{
  gst_element_set_state (d->pipeline, GST_STATE_READY);
  if (d->source) {
    gst_element_set_state (d->source, GST_STATE_NULL);
    gst_bin_remove (GST_BIN (d->pipeline), d->source);
  }
  d->source = make ("uridecodebin", error);
  if (!d->source)
    return FALSE;
  g_object_set (d->source, "uri", uri, NULL);
  g_signal_connect (d->source, "pad-added", G_CALLBACK (on_pad), d);
  gst_bin_add (GST_BIN (d->pipeline), d->source);
  return TRUE;
}

/* The message's sentence, with the input's name in front where the fault is
 * the input's. */
static void
take_error (Describe *d, GstMessage *message, GError **error)
{
  g_autoptr (GError) reason = NULL;
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &reason, NULL);
  else
    gst_message_parse_warning (message, &reason, NULL);
  gboolean ours = GST_MESSAGE_SRC (message) == GST_OBJECT (d->vlm);
  g_clear_error (error);
  if (ours && GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    g_propagate_error (error, g_steal_pointer (&reason));
  else
    g_set_error (error, reason->domain, reason->code, "%s: %s", d->input,
        reason->message);
}

/* TRUE when the input is at its end; *error if that is a bad one. A warning
 * of the element is a frame that could not be described: it counts if nothing
 * else was. */
static gboolean
handle (Describe *d, GstMessage *message, GError **warning, GError **error)
{
  const GstStructure *caption;
  gboolean ours = GST_MESSAGE_SRC (message) == GST_OBJECT (d->vlm);
  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_EOS:
    return TRUE;
  case GST_MESSAGE_ERROR:
    take_error (d, message, error);
    return TRUE;
  case GST_MESSAGE_WARNING:
    if (ours)
      take_error (d, message, warning);
    return FALSE;
  case GST_MESSAGE_PROGRESS:
    show_loading (d, message);
    return FALSE;
  case GST_MESSAGE_ELEMENT:
    caption = gst_vlm_message_get_caption (message);
    if (caption)
      print_caption (d, caption);
    return FALSE;
  default:
    return FALSE;
  }
}

static void
wait_for_end (Describe *d, GError **warning, GError **error)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (d->pipeline);
  for (;;) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop (bus, TICK);
    if (!message)
      show_position (d);
    else if (handle (d, message, warning, error))
      break;
  }
  clear_progress (d);
}

static gboolean
describe_input (Describe *d, const char *input, GError **error)
{
  g_autoptr (GError) warning = NULL, failure = NULL;
  g_autofree char *uri = uri_of (input, error);
  if (!uri || !set_source (d, uri, error))
    return FALSE;
  d->input = input;
  d->n_captions = 0;
  d->linked = FALSE;
  g_atomic_int_set (&d->still, FALSE);
  gst_element_set_state (d->pipeline, GST_STATE_PLAYING);
  wait_for_end (d, &warning, &failure);
  gst_element_set_state (d->pipeline, GST_STATE_READY);
  if (!failure && !d->n_captions)
    failure = g_steal_pointer (&warning);
  if (!failure && !d->n_captions)
    g_set_error (&failure, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE,
        "%s: a picture or a video was expected, but no frame came of it.",
        input);
  if (warning)
    g_printerr ("hiredvlm-describe: %s\n", warning->message);
  if (failure)
    g_propagate_error (error, g_steal_pointer (&failure));
  return d->n_captions > 0 && !(error && *error);
}

/* ---- all of it ---- */

/* All inputs by one policy; keeps the last described frame. */
static gboolean
describe_inputs (Describe *d, const char *policy, GError **error)
{
  if (policy && !describe_set_property (d->vlm, "policy", policy, error))
    return FALSE;
  for (char **input = d->options->inputs; *input; input++)
    if (!describe_input (d, *input, error))
      return FALSE;
  if (d->frame)
    g_ptr_array_add (d->frames, g_steal_pointer (&d->frame));
  return TRUE;
}

static gboolean
draw (Describe *d, GError **error)
{
  const char *file = d->options->picture;
  if (!file)
    return TRUE;
  if (d->frames->len)
    return describe_draw (
        (GstSample *const *) d->frames->pdata, d->frames->len, file, error);
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
      "%s was not drawn: no described frame is at hand.", file);
  return FALSE;
}

gboolean
describe_run (Describe *d, GError **error)
{
  char **policies = d->options->policies;
  if (!policies)
    return describe_inputs (d, NULL, error) && draw (d, error);
  for (char **policy = policies; *policy; policy++) {
    d->policy = policies[1] ? *policy : NULL;
    if (!describe_inputs (d, *policy, error))
      return FALSE;
  }
  return draw (d, error);
}
