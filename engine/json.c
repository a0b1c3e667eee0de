/* json.c - typed reading of JSON whose failures are sentences
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/json.h"

#include <glib/gi18n-lib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "engine/error.h"

gboolean
vlm_read_text (
    const char *path, gsize limit, char **text, gsize *length, GError **error)
{
  g_autofree char *expected = NULL, *found = NULL;
  g_autoptr (GError) reason = NULL;
  GStatBuf info;

  if (g_stat (path, &info) != 0 || !S_ISREG (info.st_mode))
    return vlm_fail_expected (
        error, VLM_ERROR_NOT_FOUND, path, "a file", N_ ("there is none"));
  if ((guint64) info.st_size > limit) {
    expected = g_strdup_printf ("at most %zu bytes", limit);
    found = g_strdup_printf ("%" PRIu64, (guint64) info.st_size);
    return vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = path, .expected = expected, .found = found),
        "%s: at most %zu bytes were expected, but the file has %" PRIu64 ".",
        path, limit, (guint64) info.st_size);
  }
  if (g_file_get_contents (path, text, length, &reason))
    return TRUE;
  found = g_strdup_printf ("reading it failed (%s)", reason->message);
  return vlm_fail (error, VLM_ERROR_OPEN,
      VLM_ABOUT (.file = path, .expected = "a readable file", .found = found),
      "%s: a readable file was expected, but reading it failed (%s).", path,
      reason->message);
}

/* The index after the string that opens at text[i], or length. */
static gsize
skip_string (const char *text, gsize length, gsize i)
{
  for (i++; i < length && text[i] != '"'; i++)
    if (text[i] == '\\')
      i++;
  return i < length ? i + 1 : length;
}

/* What json-glib would swallow or drown in, or NULL: it recurses without
 * bound, skips comments and reads several values in a row. */
static const char *
find_oddity (const char *text, gsize length)
{
  int depth = 0;
  gboolean closed = FALSE;
  gsize i = 0;

  while (i < length) {
    char c = text[i++];

    if (strchr (" \t\r\n", c) && c)
      continue;
    if (closed)
      return N_ ("something follows the end of the value");
    if (c == '"')
      i = skip_string (text, length, i - 1);
    else if (c == '{' || c == '[')
      depth++;
    else if (c == '}' || c == ']')
      closed = --depth <= 0;
    else if (!c || !strchr ("+-.0123456789eEtrufalsn:,", c))
      return N_ ("a character stands where none may");
    if (depth > VLM_JSON_MAX_DEPTH)
      return N_ ("it is nested too deeply");
  }
  return closed ? NULL : N_ ("it ends too early");
}

typedef struct {
  GHashTable *seen; /* "object address, name" */
  char *twice;      /* the first name met again, owned */
} Members;

static void
note_member (
    JsonParser *parser, JsonObject *object, const char *name, Members *members)
{
  char *key = g_strdup_printf ("%p %s", (void *) object, name);

  if (!g_hash_table_add (members->seen, key) && !members->twice)
    members->twice = g_strdup (name);
}

static gboolean
load (JsonParser *parser, const char *text, gsize length, const char *file,
    GError **error)
{
  g_autofree char *broken = NULL;
  g_autoptr (GError) reason = NULL;
  const char *odd;

  if (!g_utf8_validate (text, length, NULL))
    return vlm_fail_expected (error, VLM_ERROR_DATA, file, "JSON in UTF-8",
        N_ ("bytes that are not UTF-8 were found"));
  odd = find_oddity (text, length);
  if (odd)
    return vlm_fail_expected (
        error, VLM_ERROR_DATA, file, "a JSON object", odd);
  if (json_parser_load_from_data (parser, text, length, &reason))
    return TRUE;
  broken = g_strdup_printf ("the text is broken (%s)", reason->message);
  return vlm_fail (error, VLM_ERROR_DATA,
      VLM_ABOUT (.file = file, .expected = "a JSON object", .found = broken),
      "%s: a JSON object was expected, but the text is broken (%s).", file,
      reason->message);
}

JsonNode *
vlm_json_parse (const char *text, gsize length, const char *file,
    gboolean unique_keys, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GHashTable) seen =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  Members members = { seen, NULL };
  g_autofree char *twice = NULL;
  gboolean loaded;

  if (unique_keys)
    g_signal_connect (
        parser, "object-member", G_CALLBACK (note_member), &members);
  loaded = load (parser, text, length, file, error);
  twice = members.twice;
  if (!loaded)
    return NULL;
  if (twice) {
    vlm_fail (error, VLM_ERROR_DATA, VLM_ABOUT (.file = file, .key = twice),
        "%s: each name was expected once, but \"%s\" occurs twice.", file,
        twice);
    return NULL;
  }
  if (!JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser))) {
    vlm_fail_expected (error, VLM_ERROR_DATA, file, "a JSON object",
        N_ ("a list or a single value was found"));
    return NULL;
  }
  return json_parser_steal_root (parser);
}

VlmJson
vlm_json_root (JsonNode *node, const char *file)
{
  VlmJson json = { .file = file };

  json.object = node ? json_node_get_object (node) : NULL;
  return json;
}

JsonNode *
vlm_json_member (const VlmJson *json, const char *key)
{
  return json->object ? json_object_get_member (json->object, key) : NULL;
}

gboolean
vlm_json_has (const VlmJson *json, const char *key)
{
  JsonNode *node = vlm_json_member (json, key);

  return node && !JSON_NODE_HOLDS_NULL (node);
}

gboolean
vlm_json_is_null (const VlmJson *json, const char *key)
{
  JsonNode *node = vlm_json_member (json, key);

  return node && JSON_NODE_HOLDS_NULL (node);
}

static char *
describe (JsonNode *node)
{
  g_autofree char *text = json_to_string (node, FALSE);
  char *cut;

  if (strlen (text) <= 60)
    return g_steal_pointer (&text);
  cut = g_utf8_find_prev_char (text, text + 58);
  return g_strdup_printf ("%.*s...", (int) (cut - text), text);
}

/* Expected: for programs and, as shown, for people. */
static gboolean
fail (const VlmJson *json, const char *key, int code, const char *expected,
    const char *shown, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  g_autofree char *found = node ? describe (node) : g_strdup (N_ ("missing"));
  g_autofree char *path = g_strconcat (json->path, key, NULL);

  return vlm_fail (error, code,
      VLM_ABOUT (.file = json->file, .tensor = json->tensor, .key = path,
          .expected = expected, .found = found),
      "%s: %s is %s, but %s was expected.", json->file, path, vlm_text (found),
      shown);
}

gboolean
vlm_json_fail (const VlmJson *json, const char *key, int code,
    const char *expected, GError **error)
{
  return fail (json, key, code, expected, vlm_text (expected), error);
}

gboolean
vlm_json_fail_format (const VlmJson *json, const char *key, int code,
    GError **error, const char *format, ...)
{
  g_autofree char *expected = NULL, *shown = NULL;
  va_list args;

  va_start (args, format);
  expected = g_strdup_vprintf (format, args);
  va_end (args);
  va_start (args, format);
  shown = g_strdup_vprintf (vlm_text (format), args);
  va_end (args);
  return fail (json, key, code, expected, shown, error);
}

gboolean
vlm_json_node_int64 (JsonNode *node, gint64 *value)
{
  GType type;
  double number;

  if (!JSON_NODE_HOLDS_VALUE (node))
    return FALSE;
  type = json_node_get_value_type (node);
  if (type == G_TYPE_INT64) {
    *value = json_node_get_int (node);
    return TRUE;
  }
  if (type != G_TYPE_DOUBLE)
    return FALSE;
  number = json_node_get_double (node);
  if (!(fabs (number) <= 9007199254740992.0) || number != floor (number))
    return FALSE;
  *value = (gint64) number;
  return TRUE;
}

gboolean
vlm_json_node_int (JsonNode *node, int *value)
{
  gint64 number;

  if (!vlm_json_node_int64 (node, &number) || number < G_MININT ||
      number > G_MAXINT)
    return FALSE;
  *value = (int) number;
  return TRUE;
}

gboolean
vlm_json_get_int (const VlmJson *json, const char *key, int minimum,
    int maximum, int *value, GError **error)
{
  int number;

  if (!vlm_json_has (json, key))
    return TRUE;
  if (vlm_json_node_int (vlm_json_member (json, key), &number) &&
      number >= minimum && number <= maximum) {
    *value = number;
    return TRUE;
  }
  return vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
      "a whole number from %d to %d", minimum, maximum);
}

gboolean
vlm_json_get_double (const VlmJson *json, const char *key, double minimum,
    double maximum, double *value, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  GType type;

  if (!vlm_json_has (json, key))
    return TRUE;
  type = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_value_type (node)
                                      : G_TYPE_INVALID;
  if (type == G_TYPE_INT64 || type == G_TYPE_DOUBLE) {
    double number = type == G_TYPE_INT64 ? (double) json_node_get_int (node)
                                         : json_node_get_double (node);

    if (number >= minimum && number <= maximum) {
      *value = number;
      return TRUE;
    }
  }
  return vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
      "a number from %g to %g", minimum, maximum);
}

static gboolean
holds (JsonNode *node, GType type)
{
  return JSON_NODE_HOLDS_VALUE (node) &&
         json_node_get_value_type (node) == type;
}

gboolean
vlm_json_get_boolean (
    const VlmJson *json, const char *key, gboolean *value, GError **error)
{
  if (!vlm_json_has (json, key))
    return TRUE;
  if (!holds (vlm_json_member (json, key), G_TYPE_BOOLEAN))
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "true or false", error);
  *value = json_node_get_boolean (vlm_json_member (json, key));
  return TRUE;
}

gboolean
vlm_json_get_string (
    const VlmJson *json, const char *key, const char **value, GError **error)
{
  if (!vlm_json_has (json, key))
    return TRUE;
  if (!holds (vlm_json_member (json, key), G_TYPE_STRING))
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "a string", error);
  *value = json_node_get_string (vlm_json_member (json, key));
  return TRUE;
}

gboolean
vlm_json_get_object (
    const VlmJson *json, const char *key, VlmJson *value, GError **error)
{
  const char *end;

  *value = (VlmJson){ .file = json->file, .tensor = json->tensor };
  g_snprintf (value->path, sizeof value->path, "%s%s.", json->path, key);
  if (!g_utf8_validate (value->path, -1, &end))
    value->path[end - value->path] = '\0';
  if (!vlm_json_has (json, key))
    return TRUE;
  if (!JSON_NODE_HOLDS_OBJECT (vlm_json_member (json, key)))
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "an object", error);
  value->object = json_node_get_object (vlm_json_member (json, key));
  return TRUE;
}

gboolean
vlm_json_get_ints (const VlmJson *json, const char *key, int minimum,
    int maximum, int *values, int room, int *n, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  JsonArray *array;
  int count;

  if (!vlm_json_has (json, key))
    return TRUE;
  array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  count = array ? (int) json_array_get_length (array) : 1;
  if (count > room)
    return vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
        "a whole number from %d to %d or a list of at most %d of them", minimum,
        maximum, room);
  for (int i = 0; i < count; i++) {
    JsonNode *item = array ? json_array_get_element (array, i) : node;

    if (!vlm_json_node_int (item, &values[i]) || values[i] < minimum ||
        values[i] > maximum)
      return vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
          "a whole number from %d to %d or a list of at most %d of them",
          minimum, maximum, room);
  }
  *n = count;
  return TRUE;
}
