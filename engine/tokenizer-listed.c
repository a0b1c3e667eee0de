/* tokenizer-listed.c - tokens that stand beside a tokenizer.model
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' PreTrainedTokenizerBase._from_pretrained and
 * PreTrainedTokenizer (version 4), whose tries cut them out of the text as it
 * is.
 */
#include "engine/tokenizer-read.h"

#include <string.h>

#include "engine/error.h"

const char *const vlm_token_texts[VLM_N_TOKEN_TEXTS] = {
  [VLM_TOKEN_CONFIG] = "tokenizer_config.json",
  [VLM_TOKEN_MAP] = "special_tokens_map.json",
  [VLM_TOKEN_ADDED] = "added_tokens.json",
};

/* The attributes whose tokens are special. */
static const char *const attributes[] = { "bos_token", "eos_token", "unk_token",
  "sep_token", "pad_token", "cls_token", "mask_token",
  "additional_special_tokens" };

/* A token written as a string or as {"content": string}; NULL if neither. */
static const char *
token_text (JsonNode *node)
{
  if (node && JSON_NODE_HOLDS_OBJECT (node))
    node = json_object_get_member (json_node_get_object (node), "content");
  return node && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node)
                                              : NULL;
}

static void
note (GHashTable *special, JsonNode *node)
{
  const char *text = token_text (node);

  if (text)
    g_hash_table_add (special, g_strdup (text));
}

static void
note_special (GHashTable *special, const VlmJson *json)
{
  for (gsize i = 0; i < G_N_ELEMENTS (attributes); i++) {
    JsonNode *node = vlm_json_member (json, attributes[i]);
    JsonArray *list = node && JSON_NODE_HOLDS_ARRAY (node)
                          ? json_node_get_array (node)
                          : NULL;

    for (guint k = 0; list && k < json_array_get_length (list); k++)
      note (special, json_array_get_element (list, k));
    note (special, node);
  }
}

/* New tokens as they are read. They join the tokenizer together, since its
 * index is made anew for that; their texts are the JSON's. */
typedef struct {
  VlmTokenizer *t;
  GArray *fresh;               /* VlmAddedToken */
  GHashTable *by_id, *by_text; /* of these: id + 1 to text, and back */
} Listing;

static void
listing_init (Listing *listing, VlmTokenizer *t)
{
  listing->t = t;
  listing->fresh = g_array_new (FALSE, FALSE, sizeof (VlmAddedToken));
  listing->by_id = g_hash_table_new (NULL, NULL);
  listing->by_text = g_hash_table_new (g_str_hash, g_str_equal);
}

static void
listing_end (Listing *listing)
{
  for (guint i = 0; i < listing->fresh->len; i++)
    vlm_tokenizer_add_token (
        listing->t, &g_array_index (listing->fresh, VlmAddedToken, i));
  if (listing->fresh->len > 0)
    vlm_tokenizer_index (listing->t);
  g_array_unref (listing->fresh);
  g_hash_table_unref (listing->by_id);
  g_hash_table_unref (listing->by_text);
}

static const char *
listed_token (const Listing *listing, guint32 id)
{
  const char *text =
      g_hash_table_lookup (listing->by_id, GUINT_TO_POINTER (id + 1));

  return text ? text : vlm_tokenizer_token (listing->t, id);
}

static gint32
listed_id (const Listing *listing, const char *text)
{
  guint key = GPOINTER_TO_UINT (g_hash_table_lookup (listing->by_text, text));

  return key ? (gint32) key - 1 : vlm_tokenizer_id (listing->t, text);
}

static gboolean
refuse (const VlmJson *json, const VlmAddedToken *token, const char *there,
    gint32 id, GError **error)
{
  g_autofree char *own = there ? g_strdup_printf ("that is %.80s", there)
                               : g_strdup_printf ("its own is %d", id);

  return vlm_fail (error, VLM_ERROR_DATA,
      VLM_ABOUT (.file = json->file, .key = token->content),
      "%s: %.80s has the id %u, but %s.", json->file, token->content, token->id,
      own);
}

/* A token may be a piece already, of the id it is given. */
static gboolean
add (Listing *listing, const VlmJson *json, const VlmAddedToken *token,
    GError **error)
{
  const char *there = listed_token (listing, token->id);
  gint32 id = listed_id (listing, token->content);

  if (!*token->content)
    return TRUE;
  if (there ? !g_str_equal (there, token->content) : id >= 0)
    return refuse (json, token, there, id, error);
  if (vlm_tokenizer_added (listing->t, token->id))
    return TRUE;
  g_array_append_val (listing->fresh, *token);
  g_hash_table_insert (
      listing->by_id, GUINT_TO_POINTER (token->id + 1), token->content);
  g_hash_table_insert (
      listing->by_text, token->content, GUINT_TO_POINTER (token->id + 1));
  return TRUE;
}

/* {"32000": {"content": "<pad>", "special": true, ...}} */
static gboolean
add_decoder (Listing *listing, const VlmJson *json, GError **error)
{
  JsonObjectIter iter;
  const char *key;
  JsonNode *node;

  json_object_iter_init (&iter, json->object);
  while (json_object_iter_next (&iter, &key, &node)) {
    VlmJson entry;
    VlmAddedToken token = { 0 };
    const char *content = "";
    gint64 id;

    if (!g_ascii_string_to_signed (key, 10, 0, VLM_MAX_TOKENS - 1, &id, NULL))
      return vlm_json_fail (
          json, key, VLM_ERROR_DATA, "an id from 0 to 4194303", error);
    if (!vlm_json_get_object (json, key, &entry, error) ||
        !vlm_json_get_string (&entry, "content", &content, error) ||
        !vlm_json_get_boolean (
            &entry, "single_word", &token.single_word, error) ||
        !vlm_json_get_boolean (&entry, "lstrip", &token.lstrip, error) ||
        !vlm_json_get_boolean (&entry, "rstrip", &token.rstrip, error) ||
        !vlm_json_get_boolean (&entry, "special", &token.special, error))
      return FALSE;
    token.id = (guint32) id;
    token.content = (char *) content;
    if (!add (listing, json, &token, error))
      return FALSE;
  }
  return TRUE;
}

/* {"<pad>": 32000} */
static gboolean
add_plain (
    Listing *listing, const VlmJson *json, GHashTable *special, GError **error)
{
  JsonObjectIter iter;
  const char *key;
  JsonNode *node;

  json_object_iter_init (&iter, json->object);
  while (json_object_iter_next (&iter, &key, &node)) {
    VlmAddedToken token = { .content = (char *) key,
      .special = g_hash_table_contains (special, key) };
    int id;

    if (!vlm_json_get_int (json, key, 0, VLM_MAX_TOKENS - 1, &id, error))
      return FALSE;
    token.id = (guint32) id;
    if (!add (listing, json, &token, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
parse (const char *text, const char *file, JsonNode **root, VlmJson *json,
    GError **error)
{
  if (text &&
      !(*root = vlm_json_parse (text, strlen (text), file, FALSE, error)))
    return FALSE;
  *json = vlm_json_root (*root, file);
  return TRUE;
}

gboolean
vlm_tokenizer_add_listed (VlmTokenizer *t, const char *folder,
    const char *const texts[VLM_N_TOKEN_TEXTS], GError **error)
{
  g_autoptr (GHashTable) special =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  VlmJson json[VLM_N_TOKEN_TEXTS], decoder;
  JsonNode *roots[VLM_N_TOKEN_TEXTS] = { NULL };
  char *files[VLM_N_TOKEN_TEXTS];
  gboolean done = TRUE;
  Listing listing;

  listing_init (&listing, t);
  for (int i = 0; i < VLM_N_TOKEN_TEXTS; i++) {
    files[i] = g_build_filename (folder, vlm_token_texts[i], NULL);
    done = done && parse (texts[i], files[i], &roots[i], &json[i], error);
  }
  done = done && vlm_json_get_object (&json[VLM_TOKEN_CONFIG],
                     "added_tokens_decoder", &decoder, error);
  if (done && decoder.object) {
    done = add_decoder (&listing, &decoder, error);
  } else if (done && json[VLM_TOKEN_ADDED].object) {
    note_special (special, &json[VLM_TOKEN_CONFIG]);
    note_special (special, &json[VLM_TOKEN_MAP]);
    done = add_plain (&listing, &json[VLM_TOKEN_ADDED], special, error);
  }
  listing_end (&listing);
  for (int i = 0; i < VLM_N_TOKEN_TEXTS; i++) {
    g_clear_pointer (&roots[i], json_node_unref);
    g_free (files[i]);
  }
  return done;
}
