/* element-doc.c - writes docs/element.md, or checks that it is up to date
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   element-doc > docs/element.md      writes it
 *   element-doc docs/element.md        fails if it says something else
 *
 * Everything comes from the class, as in gst-inspect-1.0; what only newer
 * GStreamers or some builds give the element is told on docs/pipelines.md.
 */
#include <gst/gst.h>
#include <string.h>
#include "gst/gsthiredvlm.h"

/* "`video/x-raw`, ...": which formats there are depends on GStreamer. */
static char *
caps_text (GstPadTemplate *template)
{
  g_autoptr (GstCaps) caps = gst_pad_template_get_caps (template);
  GString *out = g_string_new (NULL);
  for (guint i = 0; i < gst_caps_get_size (caps); i++) {
    const GstStructure *s = gst_caps_get_structure (caps, i);
    if (!gst_caps_features_is_equal (gst_caps_get_features (caps, i),
            GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY))
      continue;
    g_string_append_printf (
        out, "%s`%s`", i ? ", " : "", gst_structure_get_name (s));
    const GValue *formats = gst_structure_get_value (s, "format");
    if (!formats)
      continue;
    g_string_append (out, " in ");
    guint n = gst_value_list_get_size (formats);
    for (guint j = 0; n < 10 && j < n; j++)
      g_string_append_printf (out, "%s`%s`", j ? " or " : "",
          g_value_get_string (gst_value_list_get_value (formats, j)));
    if (n >= 10)
      g_string_append (out, "any format");
  }
  return g_string_free (out, FALSE);
}

static void
add_pads (GString *out, GstElementClass *klass)
{
  static const char *const presence[] = { "always", "sometimes", "request" };
  g_string_append (out, "## Pads\n\n| pad | direction | presence | caps |\n"
                        "|---|---|---|---|\n");
  for (GList *l = gst_element_class_get_pad_template_list (klass); l;
       l = l->next) {
    GstPadTemplate *t = l->data;
    g_autofree char *caps = caps_text (t);
    g_string_append_printf (out, "| `%s` | %s | %s | %s |\n",
        GST_PAD_TEMPLATE_NAME_TEMPLATE (t),
        GST_PAD_TEMPLATE_DIRECTION (t) == GST_PAD_SINK ? "sink" : "src",
        presence[GST_PAD_TEMPLATE_PRESENCE (t)], caps);
  }
  /* caps_text leaves these out: they depend on what it was built with. */
  g_string_append (out,
      "\nBuilt with gstreamer-cuda-1.0, `sink` and `src` take\n"
      "`video/x-raw(memory:CUDAMemory)`, too.\n");
}

/* "sync", "0.2", ... of a value. */
static char *
value_text (GParamSpec *spec)
{
  const GValue *value = g_param_spec_get_default_value (spec);
  if (G_VALUE_HOLDS_STRING (value))
    return g_strdup (
        g_value_get_string (value) ? g_value_get_string (value) : "unset");
  if (G_VALUE_HOLDS_BOXED (value))
    return g_strdup ("unset");
  if (G_VALUE_HOLDS_UINT64 (value) && g_value_get_uint64 (value) == G_MAXUINT64)
    return g_strdup ("-1");
  if (G_VALUE_HOLDS_DOUBLE (value))
    return g_strdup_printf ("%g", g_value_get_double (value));
  if (G_VALUE_HOLDS_ENUM (value))
    return g_strdup (g_enum_get_value (
        G_PARAM_SPEC_ENUM (spec)->enum_class, g_value_get_enum (value))
                         ->value_nick);
  return gst_value_serialize (value);
}

/* "<image>" is no markup. */
static char *
no_tags (const char *text)
{
  g_auto (GStrv) parts = g_strsplit (text, "<", -1);
  return g_strjoinv ("\\<", parts);
}

static const char *
when (GParamSpec *spec)
{
  if (!(spec->flags & G_PARAM_WRITABLE))
    return "read only";
  if (spec->flags & GST_PARAM_CONTROLLABLE)
    return "any time, by curve";
  return spec->flags & GST_PARAM_MUTABLE_PLAYING ? "any time" : "READY";
}

static void
add_choices (GString *out, GParamSpec *spec)
{
  if (!G_IS_PARAM_SPEC_ENUM (spec))
    return;
  GEnumClass *klass = G_PARAM_SPEC_ENUM (spec)->enum_class;
  for (guint i = 0; i < klass->n_values; i++)
    g_string_append_printf (out, "- `%s`: %s.\n", klass->values[i].value_nick,
        klass->values[i].value_name);
  g_string_append_c (out, '\n');
}

static gboolean
is_newer (const GParamSpec *spec)
{
  return g_str_equal (spec->name, "analytics-meta") ||
         g_str_equal (spec->name, "labels");
}

static void
add_properties (GString *out, GObjectClass *klass)
{
  guint n;
  g_autofree GParamSpec **specs = g_object_class_list_properties (klass, &n);
  g_string_append (out, "## Properties\n\n");
  for (guint i = 0; i < n; i++) {
    GParamSpec *spec = specs[i];
    if (spec->owner_type != G_OBJECT_CLASS_TYPE (klass) || is_newer (spec))
      continue;
    g_autofree char *fallback = value_text (spec);
    g_autofree char *blurb = no_tags (g_param_spec_get_blurb (spec));
    g_string_append_printf (out, "### `%s`\n\n%s.\n\n", spec->name, blurb);
    if (spec->flags & G_PARAM_WRITABLE)
      g_string_append_printf (out, "Default %s. Set: %s.\n\n",
          fallback && *fallback ? fallback : "empty", when (spec));
    else
      g_string_append (out, "Read only.\n\n");
    add_choices (out, spec);
  }
}

/* "describe (gchararray, GstPromise)": names of parameters are not known. */
static void
add_signals (GString *out, GType type)
{
  guint n;
  g_autofree guint *ids = g_signal_list_ids (type, &n);
  g_string_append (out, "## Signals\n\n");
  for (guint i = 0; i < n; i++) {
    GSignalQuery query;
    g_signal_query (ids[i], &query);
    g_string_append_printf (out, "- `%s (", query.signal_name);
    for (guint j = 0; j < query.n_params; j++)
      g_string_append_printf (out, "%s%s", j ? ", " : "",
          g_type_name (query.param_types[j] & ~G_SIGNAL_TYPE_STATIC_SCOPE));
    g_string_append_printf (out, ")`%s\n",
        query.signal_flags & G_SIGNAL_ACTION ? ", an action to be emitted by "
                                               "the application"
                                             : ", emitted by the element");
  }
  g_string_append_c (out, '\n');
}

static char *
make_text (void)
{
  GString *out = g_string_new ("# Element hiredvlm\n\n");
  g_autoptr (GstElement) element =
      gst_object_ref_sink (gst_element_factory_make ("hiredvlm", NULL));
  GstElementClass *klass = GST_ELEMENT_GET_CLASS (element);
  g_string_append_printf (out,
      "%s.\n\nWritten by `tests/element-doc` from the element itself, as "
      "`gst-inspect-1.0 hiredvlm` shows it;\nhow to use it is in "
      "[pipelines.md](pipelines.md). Times are in nanoseconds.\n\n",
      gst_element_class_get_metadata (klass, GST_ELEMENT_METADATA_DESCRIPTION));
  add_pads (out, klass);
  g_string_append_c (out, '\n');
  add_signals (out, G_OBJECT_CLASS_TYPE (klass));
  add_properties (out, G_OBJECT_CLASS (klass));
  g_string_truncate (out, out->len - 1);
  return g_string_free (out, FALSE);
}

int
main (int argc, char **argv)
{
  gst_init (NULL, NULL);
  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  g_autofree char *text = make_text ();
  if (argc < 2) {
    g_print ("%s", text);
    return 0;
  }
  g_autofree char *found = NULL;
  g_autoptr (GError) error = NULL;
  if (!g_file_get_contents (argv[1], &found, NULL, &error)) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  if (strcmp (text, found) == 0)
    return 0;
  g_printerr ("%s does not say what the element says; write it anew with\n"
              "  meson devenv -C build tests/element-doc > docs/element.md\n",
      argv[1]);
  return 1;
}
