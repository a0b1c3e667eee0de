/* describe-properties.c - an element's property from text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>
#include "pipelines/describe.h"

static char *
nicks (GParamSpecEnum *spec)
{
  GString *text = g_string_new ("one of ");
  for (guint i = 0; i < spec->enum_class->n_values; i++)
    g_string_append_printf (
        text, "%s%s", i ? ", " : "", spec->enum_class->values[i].value_nick);
  return g_string_free (text, FALSE);
}

static char *
flag_nicks (GParamSpecFlags *spec)
{
  GString *text = g_string_new ("some, joined by +, of ");
  for (guint i = 0; i < spec->flags_class->n_values; i++)
    g_string_append_printf (
        text, "%s%s", i ? ", " : "", spec->flags_class->values[i].value_nick);
  return g_string_free (text, FALSE);
}

#define RANGE(TYPE, format)                                                    \
  if (G_IS_PARAM_SPEC_##TYPE (spec))                                           \
    return g_strdup_printf ("a number from " format " to " format,             \
        G_PARAM_SPEC_##TYPE (spec)->minimum,                                   \
        G_PARAM_SPEC_##TYPE (spec)->maximum);

/* What a property takes. Owned. */
static char *
expected_of (GParamSpec *spec)
{
  if (G_IS_PARAM_SPEC_ENUM (spec))
    return nicks (G_PARAM_SPEC_ENUM (spec));
  if (G_IS_PARAM_SPEC_FLAGS (spec))
    return flag_nicks (G_PARAM_SPEC_FLAGS (spec));
  if (G_IS_PARAM_SPEC_BOOLEAN (spec))
    return g_strdup ("true or false");
  RANGE (INT, "%d")
  RANGE (UINT, "%u")
  RANGE (UINT64, "%" G_GUINT64_FORMAT)
  RANGE (DOUBLE, "%g")
  return g_strdup_printf ("a %s", g_type_name (spec->value_type));
}

/* What GStreamer would take or warn of: an enum by a number or a prefix of its
 * nick, a number below zero as a huge one, a structure without a name. */
static gboolean
may_be (GParamSpec *spec, const char *text)
{
  if (G_IS_PARAM_SPEC_ENUM (spec))
    return g_enum_get_value_by_nick (
               G_PARAM_SPEC_ENUM (spec)->enum_class, text) != NULL;
  if (G_IS_PARAM_SPEC_UINT (spec) || G_IS_PARAM_SPEC_UINT64 (spec))
    return !strchr (text, '-');
  return spec->value_type != GST_TYPE_STRUCTURE || g_ascii_isalpha (*text);
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
  return may_be (spec, text) &&
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
    g_autofree char *expected = expected_of (spec);
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "The property %s cannot be \"%s\": %s was expected.", name, text,
        expected);
    return FALSE;
  }
  g_object_set_property (G_OBJECT (element), name, &value);
  return TRUE;
}
