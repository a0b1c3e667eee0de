/* tokenizer-added.c - finds added tokens in text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Leftmost match first, the longest where several begin; then the token's
 * flags may discard the match or widen it over white space. The order of these
 * two steps, visible in corner cases, is that of the tokenizers library
 * (tokenizer/added_vocabulary.rs).
 */
#include "engine/tokenizer-parts.h"

#include <string.h>

#include "engine/unicode.h"

static const VlmAddedToken *
added_at (const GArray *added, guint i)
{
  return &g_array_index (added, VlmAddedToken, i);
}

static int
compare_patterns (gconstpointer a, gconstpointer b, gpointer added)
{
  guint i = *(const guint *) a, j = *(const guint *) b;
  const char *p = added_at (added, i)->pattern;
  const char *q = added_at (added, j)->pattern;
  gsize n = strlen (p), m = strlen (q);
  if (*p != *q)
    return (guint8) *p < (guint8) *q ? -1 : 1;
  if (n != m)
    return n > m ? -1 : 1;
  return i < j ? -1 : i > j;
}

void
vlm_added_index_init (
    VlmAddedIndex *index, const GArray *added, gboolean normalized)
{
  index->order = g_array_new (FALSE, FALSE, sizeof (guint));
  for (guint i = 0; i < added->len; i++)
    if (!added_at (added, i)->normalized == !normalized &&
        *added_at (added, i)->pattern)
      g_array_append_val (index->order, i);
  g_array_sort_with_data (index->order, compare_patterns, (gpointer) added);
  guint i = 0;
  for (guint byte = 0; byte <= 256; byte++) {
    while (i < index->order->len &&
           (guint8) *added_at (added, g_array_index (index->order, guint, i))
                   ->pattern < byte)
      i++;
    index->first[byte] = i;
  }
}

void
vlm_added_index_clear (VlmAddedIndex *index)
{
  g_clear_pointer (&index->order, g_array_unref);
}

/* The longest token that matches at p. */
static const VlmAddedToken *
match_at (const VlmAddedIndex *index, const GArray *added, const char *p,
    const char *end)
{
  guint8 byte = *p;
  for (guint i = index->first[byte]; i < index->first[byte + 1]; i++) {
    const VlmAddedToken *token =
        added_at (added, g_array_index (index->order, guint, i));
    gsize n = strlen (token->pattern);
    if (n <= (gsize) (end - p) && memcmp (p, token->pattern, n) == 0)
      return token;
  }
  return NULL;
}

static gboolean
stands_alone (
    const char *text, const char *start, const char *stop, const char *end)
{
  if (start > text &&
      vlm_unicode_is_word (g_utf8_get_char (g_utf8_prev_char (start))))
    return FALSE;
  return stop == end || !vlm_unicode_is_word (g_utf8_get_char (stop));
}

static const char *
spaces_before (const char *text, const char *p)
{
  while (p > text) {
    const char *previous = g_utf8_prev_char (p);
    if (!vlm_unicode_is_space (g_utf8_get_char (previous)))
      break;
    p = previous;
  }
  return p;
}

static const char *
spaces_after (const char *p, const char *end)
{
  while (p < end && vlm_unicode_is_space (g_utf8_get_char (p)))
    p = g_utf8_next_char (p);
  return p;
}

void
vlm_added_split (const VlmAddedIndex *index, const GArray *added,
    const char *text, gsize length, VlmSectionFunc func, gpointer data)
{
  const char *end = text + length, *done = text, *p = text;
  while (p < end) {
    const VlmAddedToken *token = match_at (index, added, p, end);
    if (!token) {
      p++;
      continue;
    }
    const char *start = p, *stop = p + strlen (token->pattern);
    p = stop;
    if (token->single_word && !stands_alone (text, start, stop, end))
      continue;
    if (token->lstrip)
      start = MAX (spaces_before (text, start), done);
    if (token->rstrip)
      stop = spaces_after (stop, end);
    if (done < start)
      func (done, start - done, NULL, data);
    func (start, stop - start, token, data);
    done = stop;
  }
  if (done != end)
    func (done, end - done, NULL, data);
}
