/* describe-properties.c - an element's property from text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>
#include "pipelines/describe.h"

/* ": one of a, b, c" for an enum, "" otherwise. Owned. */
static char *
choices (GParamSpec *spec)
{
  if (!G_IS_PARAM_SPEC_ENUM (spec))
    return g_strdup ("");
  GEnumClass *class = G_PARAM_SPEC_ENUM (spec)->enum_class;
  GString *text = g_string_new (": one of ");
  for (guint i = 0; i < class->n_values; i++)
    g_string_append_printf (
        text, "%s%s", i ? ", " : "", class->values[i].value_nick);
  g_string_append (text, " was expected");
  return g_string_free (text, FALSE);
}

/* An enum is set by its nick alone, not by a number or a prefix. */
static gboolean
is_nick (GParamSpec *spec, const char *text)
{
  return !G_IS_PARAM_SPEC_ENUM (spec) ||
         g_enum_get_value_by_nick (G_PARAM_SPEC_ENUM (spec)->enum_class, text);
}

static gboolean
parse (GValue *value, GParamSpec *spec, const char *text)
{
  g_value_init (value, spec->value_type);
  if (G_VALUE_HOLDS_STRING (value)) {
    g_value_set_string (value, text);
    return TRUE;
  }
  /* Validating alters a value that is out of range. */
  return is_nick (spec, text) &&
         gst_value_deserialize_with_pspec (value, text, spec) &&
         !g_param_value_validate (spec, value);
}

gboolean
describe_set_property (
    GstElement *element, const char *name, const char *text, GError **error)
{
  GParamSpec *spec =
      g_object_class_find_property (G_OBJECT_GET_CLASS (element), name);
  g_auto (GValue) value = G_VALUE_INIT;
  if (!spec || !(spec->flags & G_PARAM_WRITABLE)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "The element has no property %s that can be set; see gst-inspect-1.0 "
        "hiredvlm.",
        name);
    return FALSE;
  }
  if (!parse (&value, spec, text)) {
    g_autofree char *expected = choices (spec);
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "The property %s cannot be \"%s\"%s.", name, text, expected);
    return FALSE;
  }
  g_object_set_property (G_OBJECT (element), name, &value);
  return TRUE;
}
