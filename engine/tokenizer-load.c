/* tokenizer-load.c - reads tokenizer.json
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/tokenizer-read.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "engine/error.h"

/* Vocabulary and merges. */

static gboolean
read_vocabulary (VlmBpe *bpe, const VlmJson *model, GError **error)
{
  VlmJson vocab;
  JsonObjectIter iter;
  const char *piece;
  JsonNode *node;
  if (!vlm_json_get_object (model, "vocab", &vocab, error))
    return FALSE;
  if (!vocab.object)
    return vlm_json_fail (model, "vocab", VLM_ERROR_DATA, "an object", error);
  json_object_iter_init (&iter, vocab.object);
  while (json_object_iter_next (&iter, &piece, &node)) {
    int id;
    if (!vlm_json_node_int (node, &id) || id < 0 || id >= VLM_MAX_TOKENS)
      return vlm_json_fail (
          &vocab, piece, VLM_ERROR_DATA, "an id from 0 to 4194303", error);
    vlm_bpe_add_piece (bpe, piece, id);
  }
  return TRUE;
}

static gboolean
is_string (JsonNode *node)
{
  return JSON_NODE_HOLDS_VALUE (node) &&
         json_node_get_value_type (node) == G_TYPE_STRING;
}

/* "A B", or ["A", "B"]. The parts point into the tree. */
static gboolean
split_merge (JsonNode *node, const char **left, gsize *n_left,
    const char **right, gsize *n_right)
{
  if (is_string (node)) {
    *left = json_node_get_string (node);
    const char *space = strchr (*left, ' ');
    if (!space || strchr (space + 1, ' '))
      return FALSE;
    *n_left = space - *left;
    *right = space + 1;
  } else {
    JsonArray *pair =
        JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
    if (!pair || json_array_get_length (pair) != 2 ||
        !is_string (json_array_get_element (pair, 0)) ||
        !is_string (json_array_get_element (pair, 1)))
      return FALSE;
    *left = json_array_get_string_element (pair, 0);
    *right = json_array_get_string_element (pair, 1);
    *n_left = strlen (*left);
  }
  *n_right = strlen (*right);
  return TRUE;
}

static gboolean
read_merges (VlmBpe *bpe, const VlmJson *model, GError **error)
{
  JsonNode *node = vlm_json_member (model, "merges");
  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (model, "merges", VLM_ERROR_DATA, "a list", error);
  JsonArray *merges = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (merges); i++) {
    const char *left, *right, *expected = N_ ("two pieces");
    gsize n_left, n_right;
    if (split_merge (json_array_get_element (merges, i), &left, &n_left, &right,
            &n_right)) {
      if (vlm_bpe_add_merge (bpe, left, n_left, right, n_right))
        continue;
      expected = N_ ("two pieces of the vocabulary whose union is one too");
    }
    g_autofree char *found =
        json_to_string (json_array_get_element (merges, i), FALSE);
    g_autofree char *key = g_strdup_printf ("%smerges[%u]", model->path, i);
    return vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = model->file, .key = key, .expected = expected,
            .found = found),
        "%s: %s is %.80s, but %s was expected.", model->file, key, found,
        vlm_text (expected));
  }
  return TRUE;
}

/* Features that no checkpoint here uses and that would change every word. */
static gboolean
check_unused (const VlmJson *model, GError **error)
{
  static const char *const keys[] = { "continuing_subword_prefix",
    "end_of_word_suffix" };
  double dropout = 0;
  if (!vlm_json_get_double (model, "dropout", 0, 1, &dropout, error))
    return FALSE;
  if (dropout > 0)
    return vlm_tokenizer_refuse (model, "dropout", error);
  for (gsize i = 0; i < G_N_ELEMENTS (keys); i++) {
    const char *value = "";
    if (!vlm_json_get_string (model, keys[i], &value, error))
      return FALSE;
    if (*value)
      return vlm_tokenizer_refuse (model, keys[i], error);
  }
  return TRUE;
}

static gboolean
read_flags (VlmBpe *bpe, const VlmJson *model, GError **error)
{
  gboolean fuse = FALSE, fallback = FALSE, ignore = FALSE;
  const char *unknown = NULL;
  if (!vlm_json_get_boolean (model, "fuse_unk", &fuse, error) ||
      !vlm_json_get_boolean (model, "byte_fallback", &fallback, error) ||
      !vlm_json_get_boolean (model, "ignore_merges", &ignore, error) ||
      !vlm_json_get_string (model, "unk_token", &unknown, error))
    return FALSE;
  if (fallback)
    vlm_bpe_set_byte_fallback (bpe);
  if (ignore)
    vlm_bpe_set_ignore_merges (bpe);
  if (!unknown)
    return TRUE;
  guint32 id = vlm_bpe_find (bpe, unknown, strlen (unknown));
  if (id == VLM_NO_TOKEN)
    return vlm_json_fail (
        model, "unk_token", VLM_ERROR_DATA, "a piece of the vocabulary", error);
  vlm_bpe_set_unknown (bpe, id, fuse);
  return TRUE;
}

static gboolean
read_model (VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  VlmJson model;
  const char *type = "BPE";
  if (!vlm_json_get_object (root, "model", &model, error) ||
      !vlm_json_get_string (&model, "type", &type, error))
    return FALSE;
  if (strcmp (type, "BPE") != 0) {
    g_autofree char *what = g_strdup_printf ("the type \"%s\"", type);
    return vlm_tokenizer_refuse (&model, what, error);
  }
  return check_unused (&model, error) &&
         read_vocabulary (tokenizer->bpe, &model, error) &&
         read_merges (tokenizer->bpe, &model, error) &&
         read_flags (tokenizer->bpe, &model, error);
}

/* Added tokens. */

static gboolean
read_added_token (const VlmJson *json, VlmAddedToken *token, GError **error)
{
  const char *content = "";
  token->normalized = TRUE;
  if (!vlm_json_get_string (json, "content", &content, error) ||
      !vlm_json_get_boolean (json, "single_word", &token->single_word, error) ||
      !vlm_json_get_boolean (json, "lstrip", &token->lstrip, error) ||
      !vlm_json_get_boolean (json, "rstrip", &token->rstrip, error) ||
      !vlm_json_get_boolean (json, "normalized", &token->normalized, error) ||
      !vlm_json_get_boolean (json, "special", &token->special, error))
    return FALSE;
  token->content = g_strdup (content);
  return TRUE;
}

/* The id of a token: its own if it is known, else the next free one; the id
 * in the file is not asked, as in the library. */
static guint32
place_token (VlmTokenizer *tokenizer, GHashTable *known, const char *content,
    guint32 *next_id)
{
  gpointer index;
  if (g_hash_table_lookup_extended (known, content, NULL, &index))
    return g_array_index (
        tokenizer->added, VlmAddedToken, GPOINTER_TO_UINT (index))
        .id;
  guint32 id = vlm_bpe_find (tokenizer->bpe, content, strlen (content));
  return id == VLM_NO_TOKEN ? (*next_id)++ : id;
}

/* The pattern of a token that matches normalized text. */
static char *
normalized_pattern (const VlmTokenizer *tokenizer, const char *content)
{
  GString *pattern = g_string_new (NULL);
  vlm_normalize (tokenizer->normalizer, content, strlen (content), pattern);
  return g_string_free (pattern, FALSE);
}

static void
add_token (VlmTokenizer *tokenizer, GHashTable *known, VlmAddedToken token)
{
  gpointer index;
  token.pattern = token.normalized
                      ? normalized_pattern (tokenizer, token.content)
                      : g_strdup (token.content);
  if (g_hash_table_lookup_extended (known, token.content, NULL, &index)) {
    VlmAddedToken *old = &g_array_index (
        tokenizer->added, VlmAddedToken, GPOINTER_TO_UINT (index));
    g_free (token.content);
    g_free (old->pattern);
    token.content = old->content;
    *old = token;
  } else {
    g_hash_table_insert (
        known, token.content, GUINT_TO_POINTER (tokenizer->added->len));
    g_array_append_val (tokenizer->added, token);
  }
}

static gboolean
add_tokens (VlmTokenizer *tokenizer, const VlmJson *root, JsonArray *list,
    GHashTable *known, GError **error)
{
  guint32 next_id = vlm_bpe_n_pieces (tokenizer->bpe);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    VlmJson json = { root->file, "added_tokens.", NULL };
    VlmAddedToken token = { 0 };
    JsonNode *node = json_array_get_element (list, i);
    if (!JSON_NODE_HOLDS_OBJECT (node))
      return vlm_json_fail (
          root, "added_tokens", VLM_ERROR_DATA, "a list of objects", error);
    json.object = json_node_get_object (node);
    if (!read_added_token (&json, &token, error))
      return FALSE;
    if (!*token.content) {
      g_free (token.content);
      continue;
    }
    token.id = place_token (tokenizer, known, token.content, &next_id);
    if (token.special)
      g_hash_table_add (tokenizer->special, g_strdup (token.content));
    add_token (tokenizer, known, token);
  }
  return TRUE;
}

static gboolean
read_added (VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);
  JsonNode *node = vlm_json_member (root, "added_tokens");
  if (vlm_json_has (root, "added_tokens")) {
    if (!JSON_NODE_HOLDS_ARRAY (node))
      return vlm_json_fail (
          root, "added_tokens", VLM_ERROR_DATA, "a list", error);
    if (!add_tokens (tokenizer, root, json_node_get_array (node), known, error))
      return FALSE;
  }
  vlm_tokenizer_index (tokenizer);
  return TRUE;
}

/* Beginning and end marks. */

/* Appends the ids that a special token of the template stands for. */
static gboolean
add_marks (const VlmJson *template, const VlmJson *piece, GArray *marks,
    GError **error)
{
  VlmJson tokens, token;
  const char *id = "";
  int ids[16], n = 0;
  if (!vlm_json_get_string (piece, "id", &id, error) ||
      !vlm_json_get_object (template, "special_tokens", &tokens, error) ||
      !vlm_json_get_object (&tokens, id, &token, error) ||
      !vlm_json_get_ints (&token, "ids", 0, VLM_MAX_TOKENS - 1, ids,
          G_N_ELEMENTS (ids), &n, error))
    return FALSE;
  if (!vlm_json_has (&token, "ids"))
    return vlm_json_fail (&tokens, id, VLM_ERROR_DATA,
        "the ids of this token of the template", error);
  for (int i = 0; i < n; i++) {
    gint32 mark = ids[i];
    g_array_append_val (marks, mark);
  }
  return TRUE;
}

/* {"Sequence": {"id": "A"}} or {"SpecialToken": {"id": ...}} */
static gboolean
read_template_piece (const VlmJson *template, const VlmJson *piece,
    GArray *before, GArray *after, gboolean *seen, GError **error)
{
  VlmJson part;
  const char *id = "A";
  if (vlm_json_has (piece, "SpecialToken"))
    return vlm_json_get_object (piece, "SpecialToken", &part, error) &&
           add_marks (template, &part, *seen ? after : before, error);
  if (!vlm_json_get_object (piece, "Sequence", &part, error) ||
      !vlm_json_get_string (&part, "id", &id, error))
    return FALSE;
  if (!part.object || strcmp (id, "A") != 0 || *seen)
    return vlm_tokenizer_refuse (
        template, "a template other than marks around one text", error);
  *seen = TRUE;
  return TRUE;
}

static gboolean
read_template (VlmTokenizer *tokenizer, const VlmJson *template, GError **error)
{
  g_autoptr (GArray) before = g_array_new (FALSE, FALSE, sizeof (gint32));
  JsonNode *node = vlm_json_member (template, "single");
  gboolean seen = FALSE;
  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (template, "single", VLM_ERROR_DATA, "a list", error);
  JsonArray *list = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    VlmJson piece = *template;
    JsonNode *item = json_array_get_element (list, i);
    if (!JSON_NODE_HOLDS_OBJECT (item))
      return vlm_json_fail (
          template, "single", VLM_ERROR_DATA, "a list of objects", error);
    piece.object = json_node_get_object (item);
    if (!read_template_piece (
            template, &piece, before, tokenizer->after, &seen, error))
      return FALSE;
  }
  if (!seen)
    return vlm_tokenizer_refuse (template, "a template without text", error);
  g_array_prepend_vals (tokenizer->before, before->data, before->len);
  return TRUE;
}

static gboolean
read_processor (
    VlmTokenizer *tokenizer, const VlmJson *processor, GError **error)
{
  const char *type = "";
  if (!vlm_json_get_string (processor, "type", &type, error))
    return FALSE;
  if (strcmp (type, "ByteLevel") == 0)
    return TRUE; /* it moves offsets only */
  if (strcmp (type, "TemplateProcessing") == 0)
    return read_template (tokenizer, processor, error);
  if (strcmp (type, "Sequence") != 0) {
    g_autofree char *what = g_strdup_printf ("the type \"%s\"", type);
    return vlm_tokenizer_refuse (processor, what, error);
  }
  JsonNode *node = vlm_json_member (processor, "processors");
  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (
        processor, "processors", VLM_ERROR_DATA, "a list", error);
  JsonArray *list = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    VlmJson part = *processor;
    JsonNode *item = json_array_get_element (list, i);
    if (!JSON_NODE_HOLDS_OBJECT (item))
      return vlm_json_fail (
          processor, "processors", VLM_ERROR_DATA, "a list of objects", error);
    part.object = json_node_get_object (item);
    if (!read_processor (tokenizer, &part, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_marks (VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  VlmJson processor;
  if (!vlm_json_has (root, "post_processor"))
    return TRUE;
  return vlm_json_get_object (root, "post_processor", &processor, error) &&
         read_processor (tokenizer, &processor, error);
}

gboolean
vlm_tokenizer_load (VlmTokenizer *tokenizer, const char *json, gsize length,
    const char *file, GError **error)
{
  JsonNode *node = vlm_json_parse (json, length, file, FALSE, error);
  if (!node)
    return FALSE;
  VlmJson root = vlm_json_root (node, file);
  gboolean ok = read_model (tokenizer, &root, error) &&
                vlm_tokenizer_read_normalizer (tokenizer, &root, error) &&
                vlm_tokenizer_read_words (tokenizer, &root, error) &&
                vlm_tokenizer_read_decoder (tokenizer, &root, error) &&
                read_added (tokenizer, &root, error) &&
                read_marks (tokenizer, &root, error);
  json_node_unref (node);
  guint32 size = vlm_bpe_size (tokenizer->bpe);
  if (tokenizer->added->len)
    size = MAX (size, 1 + g_array_index (tokenizer->added, VlmAddedToken,
                              tokenizer->added->len - 1)
                              .id);
  tokenizer->size = size;
  return ok;
}
