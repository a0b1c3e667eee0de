/* tokenizer-normalize.c - normalizer steps on a section of text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/tokenizer-parts.h"

#include <string.h>

#include "engine/unicode.h"

void
vlm_replace (const char *text, gsize length, const char *pattern,
    const char *content, GString *out)
{
  gsize n = strlen (pattern);
  const char *end = text + length;
  while (text < end) {
    if (n <= (gsize) (end - text) && memcmp (text, pattern, n) == 0) {
      g_string_append (out, content);
      text += n;
    } else {
      g_string_append_c (out, *text++);
    }
  }
}

static void
run_step (const VlmNormalizeStep *step, const GString *text, GString *out)
{
  switch (step->kind) {
  case VLM_NORMALIZE_PREPEND:
    if (text->len)
      g_string_append (out, step->content);
    g_string_append_len (out, text->str, text->len);
    break;
  case VLM_NORMALIZE_REPLACE:
    vlm_replace (text->str, text->len, step->pattern, step->content, out);
    break;
  case VLM_NORMALIZE_NFC:
    vlm_unicode_nfc (text->str, text->len, out);
    break;
  }
}

void
vlm_normalize (
    const GArray *steps, const char *text, gsize length, GString *out)
{
  g_autoptr (GString) next = g_string_sized_new (length);
  g_string_truncate (out, 0);
  g_string_append_len (out, text, length);
  for (guint i = 0; i < steps->len; i++) {
    g_string_truncate (next, 0);
    run_step (&g_array_index (steps, VlmNormalizeStep, i), out, next);
    GString swap = *out;
    *out = *next;
    *next = swap;
  }
}
