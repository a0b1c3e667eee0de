/* tokenizer.c - ids and texts against those of the tokenizers library
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * test-tokenizer [FOLDER]: runs the goldens of another folder, such as
 * make-golden-text.py makes with --cases.
 */
#include <json-glib/json-glib.h>
#include <string.h>

#include "engine/error.h"
#include "engine/tokenizer.h"
#include "engine/unicode.h"

static GArray *
ids_new (void)
{
  return g_array_new (FALSE, FALSE, sizeof (gint32));
}

static char *
show_ids (const GArray *ids)
{
  GString *text = g_string_new (NULL);
  for (guint i = 0; i < ids->len; i++)
    g_string_append_printf (text, "%d ", g_array_index (ids, gint32, i));
  return g_string_free (text, FALSE);
}

static GArray *
read_ids (JsonArray *list)
{
  GArray *ids = ids_new ();
  for (guint i = 0; i < json_array_get_length (list); i++) {
    gint32 id = json_array_get_int_element (list, i);
    g_array_append_val (ids, id);
  }
  return ids;
}

static void
assert_ids (
    const VlmTokenizer *tokenizer, const char *text, const GArray *expected)
{
  g_autoptr (GArray) ids = ids_new ();
  vlm_tokenizer_encode (tokenizer, text, -1, TRUE, ids);
  if (ids->len == expected->len &&
      memcmp (ids->data, expected->data, ids->len * sizeof (gint32)) == 0)
    return;
  g_autofree char *quoted = g_strescape (text, NULL);
  g_autofree char *found = show_ids (ids);
  g_autofree char *wanted = show_ids (expected);
  g_error ("\"%s\" became %s, expected %s", quoted, found, wanted);
}

/* All at once, and piece by piece. */
static void
assert_text (const VlmTokenizer *tokenizer, const GArray *ids,
    gboolean skip_special, const char *expected)
{
  g_autoptr (VlmTextStream) stream =
      vlm_text_stream_new (tokenizer, skip_special);
  g_autoptr (GString) text = g_string_new (NULL);
  g_autofree char *whole = vlm_tokenizer_decode (
      tokenizer, (gint32 *) ids->data, ids->len, skip_special);
  g_autofree char *shown = show_ids (ids);
  if (strcmp (whole, expected) != 0)
    g_error ("%s became \"%s\", expected \"%s\"", shown, whole, expected);
  for (guint i = 0; i < ids->len; i++) {
    vlm_text_stream_push (stream, g_array_index (ids, gint32, i), text);
    g_assert_true (g_utf8_validate (text->str, text->len, NULL));
  }
  vlm_text_stream_flush (stream, text);
  g_assert_cmpstr (text->str, ==, expected);
}

static VlmTokenizer *
from_node (JsonNode *node)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *json = json_to_string (node, FALSE);
  VlmTokenizer *tokenizer = vlm_tokenizer_new (
      json, strlen (json), "tokenizer.json", -1, -1, NULL, NULL, &error);
  g_assert_no_error (error);
  return tokenizer;
}

static void
test_golden (gconstpointer path)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  JsonObject *root = json_node_get_object (json_parser_get_root (parser));
  g_autoptr (VlmTokenizer) tokenizer =
      from_node (json_object_get_member (root, "tokenizer"));
  JsonArray *encode = json_object_get_array_member (root, "encode");
  for (guint i = 0; i < json_array_get_length (encode); i++) {
    JsonArray *row = json_array_get_array_element (encode, i);
    g_autoptr (GArray) ids = read_ids (json_array_get_array_element (row, 1));
    assert_ids (tokenizer, json_array_get_string_element (row, 0), ids);
  }
  JsonArray *decode = json_object_get_array_member (root, "decode");
  for (guint i = 0; i < json_array_get_length (decode); i++) {
    JsonArray *row = json_array_get_array_element (decode, i);
    g_autoptr (GArray) ids = read_ids (json_array_get_array_element (row, 0));
    assert_text (tokenizer, ids, json_array_get_boolean_element (row, 1),
        json_array_get_string_element (row, 2));
  }
}

static void
add_goldens (const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *test = g_strconcat ("/tokenizer/golden/", name, NULL);
    if (g_str_has_suffix (name, ".json") &&
        strcmp (name, "templates.json") != 0)
      g_test_add_data_func_full (
          test, g_build_filename (folder, name, NULL), test_golden, g_free);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autofree char *golden =
      g_test_build_filename (G_TEST_DIST, "golden-text", NULL);
  add_goldens (argc > 1 ? argv[1] : golden);
  return g_test_run ();
}
