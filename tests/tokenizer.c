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
  guint same = 0;
  while (same < ids->len && same < expected->len &&
         g_array_index (ids, gint32, same) ==
             g_array_index (expected, gint32, same))
    same++;
  if (same == ids->len && same == expected->len)
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
run_golden (const VlmTokenizer *tokenizer, JsonObject *root)
{
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

/* The same of tokenizer.model, where the file has one. */
static void
run_sentencepiece (JsonObject *root)
{
  g_autoptr (GError) error = NULL;
  gsize n;
  g_autofree guchar *model =
      g_base64_decode (json_object_get_string_member (root, "model"), &n);
  g_autoptr (VlmTokenizer) tokenizer = vlm_tokenizer_new_sentencepiece (
      (const char *) model, n, "tokenizer.model", -1, -1, NULL, NULL, &error);
  g_assert_no_error (error);
  run_golden (tokenizer, root);
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
  run_golden (tokenizer, root);
  if (json_object_has_member (root, "model"))
    run_sentencepiece (root);
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

/* A tokenizer of five pieces, with a hole for more keys. */
#define TINY(more)                                                             \
  "{\"added_tokens\":[{\"id\":5,\"content\":\"<image>\",\"special\":true,"     \
  "\"normalized\":false}],\"decoder\":{\"type\":\"ByteFallback\"},"            \
  "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["           \
  "{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],"        \
  "\"special_tokens\":{\"<s>\":{\"ids\":[3]}}},"                               \
  "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<s>\":3,\"</s>\":4},"      \
  "\"merges\":[\"a b\"]}" more "}"

static VlmTokenizer *
tiny (int add_bos, int add_eos)
{
  g_autoptr (GError) error = NULL;
  const char *json = TINY ("");
  VlmTokenizer *tokenizer = vlm_tokenizer_new (json, strlen (json),
      "tokenizer.json", add_bos, add_eos, "<s>", "</s>", &error);
  g_assert_no_error (error);
  return tokenizer;
}

static void
assert_marks (int add_bos, int add_eos, const char *text, const char *expected)
{
  g_autoptr (VlmTokenizer) tokenizer = tiny (add_bos, add_eos);
  g_autoptr (GArray) ids = ids_new ();
  vlm_tokenizer_encode_prompt (tokenizer, text, -1, ids);
  g_autofree char *found = show_ids (ids);
  g_assert_cmpstr (found, ==, expected);
}

/* tokenizer.json decides, unless tokenizer_config.json speaks. */
static void
test_marks (void)
{
  assert_marks (-1, -1, "ab", "3 2 ");
  assert_marks (0, -1, "ab", "2 ");
  assert_marks (-1, 0, "ab", "2 ");
  assert_marks (1, -1, "ab", "3 2 ");
  assert_marks (1, 1, "ab", "3 2 4 ");
  assert_marks (-1, 1, "ab", "2 4 ");
  assert_marks (1, 1, "", "3 4 ");
  assert_marks (-1, -1, "<s>ab", "2 ");
}

static void
test_questions (void)
{
  g_autoptr (VlmTokenizer) tokenizer = tiny (-1, -1);
  g_assert_cmpint (vlm_tokenizer_size (tokenizer), ==, 6);
  g_assert_cmpint (vlm_tokenizer_id (tokenizer, "<image>"), ==, 5);
  g_assert_cmpint (vlm_tokenizer_id (tokenizer, "ab"), ==, 2);
  g_assert_cmpint (vlm_tokenizer_id (tokenizer, "c"), ==, -1);
  g_assert_cmpstr (vlm_tokenizer_token (tokenizer, 5), ==, "<image>");
  g_assert_cmpstr (vlm_tokenizer_token (tokenizer, 1), ==, "b");
  g_assert_null (vlm_tokenizer_token (tokenizer, 6));
  g_assert_null (vlm_tokenizer_token (tokenizer, -1));
  g_assert_true (vlm_tokenizer_is_special (tokenizer, 5));
  g_assert_false (vlm_tokenizer_is_special (tokenizer, 3));
}

/* A run of bytes is settled by the next piece; the rest at once. */
static void
test_stream (void)
{
  const char *json = "{\"decoder\":{\"type\":\"ByteFallback\"},\"model\":{"
                     "\"vocab\":{\"a\":0,\"<0xC3>\":1,\"<0xA9>\":2},"
                     "\"merges\":[]}}";
  g_autoptr (VlmTokenizer) tokenizer = vlm_tokenizer_new (
      json, strlen (json), "tokenizer.json", -1, -1, NULL, NULL, NULL);
  g_autoptr (VlmTextStream) stream = vlm_text_stream_new (tokenizer, TRUE);
  g_autoptr (GString) text = g_string_new (NULL);
  vlm_text_stream_push (stream, 0, text);
  g_assert_cmpstr (text->str, ==, "a");
  vlm_text_stream_push (stream, 1, text);
  vlm_text_stream_push (stream, 2, text);
  g_assert_cmpstr (text->str, ==, "a");
  vlm_text_stream_push (stream, 0, text);
  g_assert_cmpstr (text->str, ==, "a\303\251a");
  vlm_text_stream_push (stream, 1, text);
  vlm_text_stream_flush (stream, text);
  g_assert_cmpstr (text->str, ==, "a\303\251a\357\277\275");
  vlm_text_stream_push (stream, 0, text);
  g_assert_true (g_str_has_suffix (text->str, "a"));
}

/* Bytes that are no UTF-8, and NULs, are text of a kind. */
static void
test_odd_bytes (void)
{
  gsize n;
  g_autofree char *a = vlm_utf8_repair ("\xe4\xb8z\xff\xf0\x9f\x98", 7, &n);
  g_assert_cmpstr (a, ==, "\357\277\275z\357\277\275\357\277\275");
  g_autofree char *b = vlm_utf8_repair ("\xed\xa0\x80", 3, &n);
  g_assert_cmpint (n, ==, 9);
  g_autofree char *c = vlm_utf8_repair ("a\0b", 3, &n);
  g_assert_cmpmem (c, n, "a\0b", 3);
  g_autoptr (VlmTokenizer) tokenizer = tiny (-1, -1);
  g_autoptr (GArray) ids = ids_new ();
  vlm_tokenizer_encode (tokenizer, "a\0b\xff", 4, FALSE, ids);
  g_assert_cmpint (ids->len, ==, 1); /* what is no piece is not there: ab */
}

/* One word of a megabyte, merged to the end. */
static void
test_long_word (void)
{
  g_autoptr (VlmTokenizer) tokenizer = tiny (-1, -1);
  g_autoptr (GArray) ids = ids_new ();
  g_autoptr (GString) text = g_string_new (NULL);
  for (int i = 0; i < 1 << 19; i++)
    g_string_append (text, "ab");
  vlm_tokenizer_encode (tokenizer, text->str, text->len, FALSE, ids);
  g_assert_cmpint (ids->len, ==, 1 << 19);
}

/* More keys for TINY, or a whole file, and what the message must hold. */
static const struct {
  const char *json;
  int code;
  const char *words;
} refused[] = {
  { "", VLM_ERROR_DATA, "JSON object" },
  { "[]", VLM_ERROR_DATA, "tokenizer.json" },
  { "{}", VLM_ERROR_DATA, "vocab" },
  { "{\"model\":{\"type\":\"Unigram\"}}", VLM_ERROR_WRONG_TYPE, "Unigram" },
  { "{\"model\":{\"vocab\":{},\"merges\":[],\"dropout\":0.1}}",
      VLM_ERROR_WRONG_TYPE, "dropout" },
  { "{\"model\":{\"vocab\":{},\"merges\":[],\"end_of_word_suffix\":\"w\"}}",
      VLM_ERROR_WRONG_TYPE, "end_of_word_suffix" },
  { "{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", VLM_ERROR_DATA, "-1" },
  { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", VLM_ERROR_DATA,
      "merges[0]" },
  { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", VLM_ERROR_DATA,
      "two pieces" },
  { "{\"model\":{\"vocab\":{},\"merges\":[],\"unk_token\":\"u\"}}",
      VLM_ERROR_DATA, "unk_token" },
  { TINY (",\"normalizer\":{\"type\":\"Lowercase\"}"), VLM_ERROR_WRONG_TYPE,
      "normalizer: the type \"Lowercase\"" },
  { TINY (",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"}"
          ",\"content\":\"\"}"),
      VLM_ERROR_WRONG_TYPE, "regular expression" },
  { TINY (",\"pre_tokenizer\":{\"type\":\"Whitespace\"}"), VLM_ERROR_WRONG_TYPE,
      "Whitespace" },
  { TINY (",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
          "\"x+\"},\"behavior\":\"Isolated\",\"invert\":false}"),
      VLM_ERROR_WRONG_TYPE, "x+" },
  { TINY (",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
          "\"prepend_scheme\":\"sometimes\"}"),
      VLM_ERROR_WRONG_TYPE, "sometimes" },
  { TINY (",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
          "\"__\"}"),
      VLM_ERROR_DATA, "single character" },
  { TINY (",\"decoder\":{\"type\":\"WordPiece\"}"), VLM_ERROR_WRONG_TYPE,
      "WordPiece" },
  { TINY (",\"post_processor\":{\"type\":\"BertProcessing\"}"),
      VLM_ERROR_WRONG_TYPE, "BertProcessing" },
  { TINY (",\"added_tokens\":[{\"content\":7}]"), VLM_ERROR_DATA,
      "added_tokens.content" },
};

static void
test_refused (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autoptr (GError) error = NULL;
    const char *json = refused[i].json;
    g_assert_null (vlm_tokenizer_new (
        json, strlen (json), "tokenizer.json", -1, -1, NULL, NULL, &error));
    g_assert_error (error, VLM_ERROR, refused[i].code);
    if (!strstr (error->message, refused[i].words))
      g_error ("\"%s\" lacks %s", error->message, refused[i].words);
  }
}

/* A SentencePiece model of letters, and one field more or another. */
#define PIECE(text, type) "\n\x0a\n\x01" text "\x15\0\0\0\0\x18" type
#define LETTERS PIECE ("u", "\2") PIECE ("a", "\1") PIECE ("b", "\1")
#define BPE "\x12\x02\x18\x02"
#define IDENTITY "\x1a\x02 \0"

static const struct {
  const char *bytes;
  gsize length;
  int code;
  const char *words;
} bad_models[] = {
#define BAD(bytes, code, words)                                                \
  {                                                                            \
    bytes, sizeof bytes - 1, code, words                                       \
  }
  BAD ("", VLM_ERROR_DATA, "a SentencePiece model was expected"),
  BAD ("\n\x7f", VLM_ERROR_DATA, "a SentencePiece model was expected"),
  BAD ("\n\x02\n\0", VLM_ERROR_DATA, "a SentencePiece model was expected"),
  BAD ("\x0f", VLM_ERROR_DATA, "a SentencePiece model was expected"),
  BAD (LETTERS IDENTITY, VLM_ERROR_WRONG_TYPE, "model_type is 1"),
  BAD (LETTERS BPE, VLM_ERROR_WRONG_TYPE, "remove_extra_whitespaces is true"),
  BAD (LETTERS BPE "\x1a\x04\x12\x02xx", VLM_ERROR_WRONG_TYPE,
      "precompiled_charsmap has 2 bytes"),
  BAD (LETTERS PIECE ("a", "\1") BPE IDENTITY, VLM_ERROR_WRONG_TYPE, "piece 3"),
  BAD (
      LETTERS PIECE ("\xff", "\1") BPE IDENTITY, VLM_ERROR_WRONG_TYPE, "UTF-8"),
  BAD (LETTERS PIECE ("c", "\4") BPE IDENTITY, VLM_ERROR_WRONG_TYPE,
      "piece 3 has the type 4"),
#undef BAD
};

static void
test_bad_models (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (bad_models); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (vlm_tokenizer_new_sentencepiece (bad_models[i].bytes,
        bad_models[i].length, "tokenizer.model", 0, 0, NULL, NULL, &error));
    g_assert_error (error, VLM_ERROR, bad_models[i].code);
    if (!strstr (error->message, bad_models[i].words))
      g_error ("\"%s\" lacks %s", error->message, bad_models[i].words);
  }
}

/* What checkpoints without <image> among their tokens get. */
static void
test_marker (void)
{
  const char model[] = LETTERS BPE IDENTITY;
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) ids = ids_new ();
  g_autoptr (VlmTokenizer) tokenizer = vlm_tokenizer_new_sentencepiece (
      model, sizeof model - 1, "tokenizer.model", 0, 0, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (vlm_tokenizer_add_marker (tokenizer, "<image>"), ==, 3);
  g_assert_cmpint (vlm_tokenizer_add_marker (tokenizer, "<image>"), ==, 3);
  g_assert_cmpint (vlm_tokenizer_size (tokenizer), ==, 4);
  g_assert_true (vlm_tokenizer_is_special (tokenizer, 3));
  vlm_tokenizer_encode (tokenizer, "a<image>b", -1, TRUE, ids);
  g_autofree char *shown = show_ids (ids);
  g_assert_cmpstr (shown, ==, "0 1 3 0 2 "); /* the marker of spaces: unknown */
}

static void
test_missing_mark (void)
{
  g_autoptr (GError) error = NULL;
  const char *json = TINY ("");
  g_assert_null (vlm_tokenizer_new (
      json, strlen (json), "tokenizer.json", 1, -1, "<bos>", NULL, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_DATA);
  g_assert_nonnull (strstr (error->message, "add_bos_token"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autofree char *golden =
      g_test_build_filename (G_TEST_DIST, "golden-text", NULL);
  add_goldens (argc > 1 ? argv[1] : golden);
  g_test_add_func ("/tokenizer/marks", test_marks);
  g_test_add_func ("/tokenizer/questions", test_questions);
  g_test_add_func ("/tokenizer/stream", test_stream);
  g_test_add_func ("/tokenizer/odd-bytes", test_odd_bytes);
  g_test_add_func ("/tokenizer/long-word", test_long_word);
  g_test_add_func ("/tokenizer/refused", test_refused);
  g_test_add_func ("/tokenizer/bad-models", test_bad_models);
  g_test_add_func ("/tokenizer/marker", test_marker);
  g_test_add_func ("/tokenizer/missing-mark", test_missing_mark);
  return g_test_run ();
}
