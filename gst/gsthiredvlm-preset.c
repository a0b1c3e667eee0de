/* gsthiredvlm-preset.c - settings kept under a name (GstPreset)
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * GStreamer writes a preset's strings escaped twice and reads them escaped
 * once (gstpreset.c, gst_preset_default_save_preset, 1.22), so that a prompt
 * comes back with a backslash before each space. Its meta data is read as it
 * was written: texts, lists and structures are kept there.
 */
#include "gst/gsthiredvlm-private.h"

static GstPresetInterface defaults;

/* A text, or what may contain one, that can be set. */
static gboolean
is_text (const GParamSpec *spec)
{
  return (spec->flags & G_PARAM_WRITABLE) &&
         spec->owner_type == GST_TYPE_HIRED_VLM &&
         (spec->value_type == G_TYPE_STRING ||
             spec->value_type == GST_TYPE_ARRAY ||
             spec->value_type == GST_TYPE_STRUCTURE);
}

static gchar **
get_property_names (GstPreset *preset)
{
  g_auto (GStrv) all = defaults.get_property_names (preset);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  for (gchar **name = all; name && *name; name++)
    if (!is_text (
            g_object_class_find_property (G_OBJECT_GET_CLASS (preset), *name)))
      g_ptr_array_add (names, g_strdup (*name));
  g_ptr_array_add (names, NULL);
  return (gchar **) g_ptr_array_steal (names, NULL);
}

/* What the property says, or NULL if it is unset. */
static gchar *
read_text (GObject *object, const GParamSpec *spec)
{
  g_auto (GValue) value = G_VALUE_INIT;

  g_value_init (&value, spec->value_type);
  g_object_get_property (object, spec->name, &value);
  return G_VALUE_HOLDS_STRING (&value) ? g_value_dup_string (&value)
                                       : gst_value_serialize (&value);
}

static void
write_text (GObject *object, const GParamSpec *spec, const gchar *text)
{
  g_auto (GValue) value = G_VALUE_INIT;

  g_value_init (&value, spec->value_type);
  if (G_VALUE_HOLDS_STRING (&value))
    g_value_set_string (&value, text);
  else if (text)
    gst_value_deserialize (&value, text);
  g_object_set_property (object, spec->name, &value);
}

static gboolean
save_preset (GstPreset *preset, const gchar *name)
{
  guint n;
  g_autofree GParamSpec **specs =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (preset), &n);
  gboolean saved = defaults.save_preset (preset, name);

  for (guint i = 0; i < n && saved; i++)
    if (is_text (specs[i])) {
      g_autofree gchar *text = read_text (G_OBJECT (preset), specs[i]);

      saved = gst_preset_set_meta (preset, name, specs[i]->name, text);
    }
  return saved;
}

static gboolean
load_preset (GstPreset *preset, const gchar *name)
{
  guint n;
  g_autofree GParamSpec **specs =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (preset), &n);

  if (!defaults.load_preset (preset, name))
    return FALSE;
  for (guint i = 0; i < n; i++)
    if (is_text (specs[i])) {
      g_autofree gchar *text = NULL;

      gst_preset_get_meta (preset, name, specs[i]->name, &text);
      write_text (G_OBJECT (preset), specs[i], text);
    }
  return TRUE;
}

void
gst_hired_vlm_preset_init (gpointer iface, gpointer data)
{
  GstPresetInterface *preset = iface;

  defaults = *preset;
  preset->get_property_names = get_property_names;
  preset->save_preset = save_preset;
  preset->load_preset = load_preset;
}
