/* tokenizer.c - text to ids through all parts, and the small questions
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/tokenizer-parts.h"

#include <string.h>

#include "engine/error.h"
#include "engine/unicode.h"

static void
clear_added (gpointer data)
{
  VlmAddedToken *token = data;
  g_free (token->content);
  g_free (token->pattern);
}

static void
clear_normalize_step (gpointer data)
{
  VlmNormalizeStep *step = data;
  g_free (step->pattern);
  g_free (step->content);
}

static void
clear_words_step (gpointer data)
{
  g_free (((VlmWordsStep *) data)->replacement);
}

static void
clear_decode_step (gpointer data)
{
  VlmDecodeStep *step = data;
  g_free (step->pattern);
  g_free (step->content);
  g_free (step->replacement);
}

static GArray *
array_new (gsize size, GDestroyNotify clear)
{
  GArray *array = g_array_new (FALSE, TRUE, size);
  if (clear)
    g_array_set_clear_func (array, clear);
  return array;
}

/* Marks that replace those of tokenizer.json. */
static gboolean
set_mark (const VlmTokenizer *tokenizer, GArray *marks, int wanted,
    const char *token, const char *key, const char *file, GError **error)
{
  g_array_set_size (marks, 0);
  if (wanted <= 0 || !token)
    return TRUE;
  gint32 id = vlm_tokenizer_id (tokenizer, token);
  if (id < 0)
    return vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = file, .key = key, .found = token),
        "%s: %s asks for the token \"%s\", which is not in the vocabulary",
        file, key, token);
  g_array_append_val (marks, id);
  return TRUE;
}

gboolean
vlm_tokenizer_set_marks (VlmTokenizer *t, gboolean bos, gboolean eos,
    const char *bos_token, const char *eos_token, const char *file,
    GError **error)
{
  if (bos_token != t->bos_token) {
    g_free (t->bos_token);
    t->bos_token = g_strdup (bos_token);
  }
  return set_mark (
             t, t->before, bos, bos_token, "add_bos_token", file, error) &&
         set_mark (t, t->after, eos, eos_token, "add_eos_token", file, error);
}

VlmTokenizer *
vlm_tokenizer_alloc (void)
{
  VlmTokenizer *t = g_new0 (VlmTokenizer, 1);
  t->bpe = vlm_bpe_new ();
  t->added = array_new (sizeof (VlmAddedToken), clear_added);
  t->special = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  t->normalizer = array_new (sizeof (VlmNormalizeStep), clear_normalize_step);
  t->words = array_new (sizeof (VlmWordsStep), clear_words_step);
  t->decoder = array_new (sizeof (VlmDecodeStep), clear_decode_step);
  t->before = array_new (sizeof (gint32), NULL);
  t->after = array_new (sizeof (gint32), NULL);
  return t;
}

VlmTokenizer *
vlm_tokenizer_new (const char *json, gsize length, const char *file,
    int add_bos, int add_eos, const char *bos_token, const char *eos_token,
    GError **error)
{
  g_autoptr (VlmTokenizer) t = vlm_tokenizer_alloc ();
  t->bos_token = g_strdup (bos_token);
  if (!vlm_tokenizer_load (t, json, length, file, error))
    return NULL;
  if ((add_bos >= 0 || add_eos >= 0) &&
      !vlm_tokenizer_set_marks (
          t, add_bos > 0, add_eos > 0, bos_token, eos_token, file, error))
    return NULL;
  return g_steal_pointer (&t);
}

void
vlm_tokenizer_add_token (VlmTokenizer *t, const VlmAddedToken *token)
{
  VlmAddedToken copy = *token;
  copy.content = g_strdup (token->content);
  copy.pattern = g_strdup (token->content);
  g_array_append_val (t->added, copy);
  if (copy.special)
    g_hash_table_add (t->special, g_strdup (copy.content));
  t->size = MAX (t->size, (int) copy.id + 1);
}

static int
compare_ids (gconstpointer a, gconstpointer b)
{
  const VlmAddedToken *p = a, *q = b;
  return p->id < q->id ? -1 : p->id > q->id;
}

void
vlm_tokenizer_index (VlmTokenizer *t)
{
  g_array_sort (t->added, compare_ids);
  vlm_added_index_clear (&t->raw);
  vlm_added_index_clear (&t->normalized);
  vlm_added_index_init (&t->raw, t->added, FALSE);
  vlm_added_index_init (&t->normalized, t->added, TRUE);
}

gint32
vlm_tokenizer_add_marker (VlmTokenizer *t, const char *token)
{
  gint32 id = vlm_tokenizer_id (t, token);
  if (id >= 0)
    return id;
  id = t->size;
  vlm_tokenizer_add_token (t,
      &(VlmAddedToken){ .id = id, .content = (char *) token, .special = TRUE });
  vlm_tokenizer_index (t);
  return id;
}

void
vlm_tokenizer_free (VlmTokenizer *tokenizer)
{
  if (!tokenizer)
    return;
  vlm_bpe_free (tokenizer->bpe);
  g_hash_table_unref (tokenizer->special);
  vlm_added_index_clear (&tokenizer->raw);
  vlm_added_index_clear (&tokenizer->normalized);
  g_array_unref (tokenizer->added);
  g_array_unref (tokenizer->normalizer);
  g_array_unref (tokenizer->words);
  g_array_unref (tokenizer->decoder);
  g_array_unref (tokenizer->before);
  g_array_unref (tokenizer->after);
  g_free (tokenizer->bos_token);
  g_free (tokenizer);
}

const VlmAddedToken *
vlm_tokenizer_added (const VlmTokenizer *tokenizer, gint32 id)
{
  const VlmAddedToken *added = (VlmAddedToken *) tokenizer->added->data;
  guint low = 0, high = tokenizer->added->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    if (added[middle].id == (guint32) id)
      return &added[middle];
    if (added[middle].id < (guint32) id)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* One text on its way to ids. */
typedef struct {
  const VlmTokenizer *tokenizer;
  const char *begin; /* of the text */
  gboolean at_begin; /* the section begins it */
  GString *normalized;
  VlmBpeScratch scratch;
  GArray *ids;
} Encoder;

static void
take_word (const char *word, gsize length, gpointer data)
{
  Encoder *encoder = data;
  vlm_bpe_encode (
      encoder->tokenizer->bpe, &encoder->scratch, word, length, encoder->ids);
}

static void
take_normalized (
    const char *text, gsize length, const VlmAddedToken *token, gpointer data)
{
  Encoder *encoder = data;
  gboolean first = encoder->at_begin && text == encoder->normalized->str;
  if (token)
    g_array_append_val (encoder->ids, token->id);
  else
    vlm_words (
        encoder->tokenizer->words, text, length, first, take_word, encoder);
}

static void
take_raw (
    const char *text, gsize length, const VlmAddedToken *token, gpointer data)
{
  Encoder *encoder = data;
  const VlmTokenizer *tokenizer = encoder->tokenizer;
  if (token) {
    g_array_append_val (encoder->ids, token->id);
    return;
  }
  encoder->at_begin = text == encoder->begin;
  vlm_normalize (tokenizer->normalizer, text, length, encoder->normalized);
  vlm_added_split (&tokenizer->normalized, tokenizer->added,
      encoder->normalized->str, encoder->normalized->len, take_normalized,
      encoder);
}

void
vlm_tokenizer_encode (const VlmTokenizer *tokenizer, const char *text,
    gssize length, gboolean add_special, GArray *ids)
{
  gsize n = length < 0 ? strlen (text) : (gsize) length;
  g_autofree char *valid = vlm_utf8_repair (text, n, &n);
  Encoder encoder = { tokenizer, valid };
  g_return_if_fail (n < G_MAXINT32);
  encoder.normalized = g_string_new (NULL);
  encoder.ids = ids;
  vlm_bpe_scratch_init (&encoder.scratch);
  if (add_special)
    g_array_append_vals (ids, tokenizer->before->data, tokenizer->before->len);
  vlm_added_split (
      &tokenizer->raw, tokenizer->added, valid, n, take_raw, &encoder);
  if (add_special)
    g_array_append_vals (ids, tokenizer->after->data, tokenizer->after->len);
  vlm_bpe_scratch_clear (&encoder.scratch);
  g_string_free (encoder.normalized, TRUE);
}

void
vlm_tokenizer_encode_prompt (
    const VlmTokenizer *tokenizer, const char *text, gssize length, GArray *ids)
{
  const char *bos = tokenizer->bos_token;
  gsize n = length < 0 ? strlen (text) : (gsize) length;
  gboolean marked =
      bos && *bos && strlen (bos) <= n && memcmp (text, bos, strlen (bos)) == 0;
  vlm_tokenizer_encode (tokenizer, text, n, !marked, ids);
}

char *
vlm_tokenizer_decode (const VlmTokenizer *tokenizer, const gint32 *ids, gsize n,
    gboolean skip_special)
{
  g_autoptr (VlmTextStream) stream =
      vlm_text_stream_new (tokenizer, skip_special);
  GString *text = g_string_new (NULL);
  for (gsize i = 0; i < n; i++)
    vlm_text_stream_push (stream, ids[i], text);
  vlm_text_stream_flush (stream, text);
  return g_string_free (text, FALSE);
}

gint32
vlm_tokenizer_id (const VlmTokenizer *tokenizer, const char *token)
{
  const VlmAddedToken *added = (VlmAddedToken *) tokenizer->added->data;
  for (guint i = 0; i < tokenizer->added->len; i++)
    if (strcmp (added[i].content, token) == 0)
      return added[i].id;
  guint32 id = vlm_bpe_find (tokenizer->bpe, token, strlen (token));
  return id == VLM_NO_TOKEN ? -1 : (gint32) id;
}

const char *
vlm_tokenizer_token (const VlmTokenizer *tokenizer, gint32 id)
{
  const VlmAddedToken *added = vlm_tokenizer_added (tokenizer, id);
  return added ? added->content : vlm_bpe_piece (tokenizer->bpe, id);
}

int
vlm_tokenizer_size (const VlmTokenizer *tokenizer)
{
  return tokenizer->size;
}

gboolean
vlm_tokenizer_is_special (const VlmTokenizer *tokenizer, gint32 id)
{
  const VlmAddedToken *added = vlm_tokenizer_added (tokenizer, id);
  return added && added->special;
}
