/* fuzz-sentencepiece.c - any bytes as tokenizer.model and a text for it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An input's first byte is the length of a text, which follows it; the rest is
 * the model.
 */
#include <glib.h>
#include <stdint.h>

#include "engine/tokenizer.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  gsize n = size ? MIN (data[0], size - 1) : 0;
  const char *text = (const char *) data + (size ? 1 : 0);
  const char *model = text + n;
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint32));
  g_autoptr (VlmTokenizer) tokenizer = vlm_tokenizer_new_sentencepiece (model,
      size - n - (size ? 1 : 0), "tokenizer.model", 1, 1, NULL, NULL, &error);
  g_assert_true (!tokenizer == !!error);
  if (!tokenizer)
    return 0;
  vlm_tokenizer_add_marker (tokenizer, "<image>");
  vlm_tokenizer_encode (tokenizer, text, n, TRUE, ids);
  g_autofree char *back = vlm_tokenizer_decode (
      tokenizer, (const gint32 *) ids->data, ids->len, FALSE);
  g_assert_true (g_utf8_validate (back, -1, NULL));
  return 0;
}
