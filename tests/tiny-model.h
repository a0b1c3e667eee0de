/* tiny-model.h - a complete random checkpoint folder, written by a test
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * LLaVA-NeXT in its smallest complete form: tiles of 28 pixels, 16 patches
 * each, three encoder layers of which two run, two decoder layers with
 * grouped keys, a byte-fallback tokenizer and a chat template. Weights come
 * from a fixed seed, so its texts are nonsense and always the same.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  int max_position; /* 0: 2048 */
  guint32 seed;
  gboolean overflows; /* the encoder gives no numbers where the first pixel of
                         a patch is much brighter than the second */
} TinyModel;

/* Writes it into an existing folder; NULL: the defaults. */
void tiny_model_write (const char *folder, const TinyModel *model);

G_END_DECLS
