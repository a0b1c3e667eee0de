/* fuzz-tokenizer.c - any bytes as tokenizer.json and a text for it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An input is a tokenizer.json, a NUL, and text. The text's bytes serve as ids
 * to decode, too.
 */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "engine/tokenizer.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_decode (const VlmTokenizer *tokenizer, const gint32 *ids, gsize n)
{
  g_autoptr (VlmTextStream) stream = vlm_text_stream_new (tokenizer, n & 1);
  g_autoptr (GString) text = g_string_new (NULL);
  g_autofree char *whole = vlm_tokenizer_decode (tokenizer, ids, n, n & 1);
  for (gsize i = 0; i < n; i++)
    vlm_text_stream_push (stream, ids[i], text);
  vlm_text_stream_flush (stream, text);
  g_assert_cmpstr (text->str, ==, whole);
  g_assert_true (g_utf8_validate (whole, -1, NULL));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint8_t *end = memchr (data, 0, size);
  gsize n_json = end ? (gsize) (end - data) : size;
  gsize n_text = end ? size - n_json - 1 : 0;
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint32));
  g_autoptr (VlmTokenizer) tokenizer = vlm_tokenizer_new ((const char *) data,
      n_json, "tokenizer.json", -1, -1, "<s>", NULL, &error);
  g_assert_true (!tokenizer == !!error);
  if (!tokenizer)
    return 0;
  const uint8_t *text = data + (size - n_text);
  vlm_tokenizer_encode (tokenizer, (const char *) text, n_text, TRUE, ids);
  check_decode (tokenizer, (const gint32 *) ids->data, ids->len);
  g_array_set_size (ids, 0);
  for (gsize i = 0; i < n_text; i++) {
    gint32 id = text[i];
    g_array_append_val (ids, id);
  }
  check_decode (tokenizer, (const gint32 *) ids->data, ids->len);
  return 0;
}
