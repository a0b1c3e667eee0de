/* tokenizer-read.h - readers of the parts of tokenizer.json
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "engine/json.h"
#include "engine/tokenizer-parts.h"

G_BEGIN_DECLS

/* Each fills one part from the root object; absent or null is an empty one. */
gboolean vlm_tokenizer_read_normalizer (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error);
gboolean vlm_tokenizer_read_words (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error);
gboolean vlm_tokenizer_read_decoder (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error);

/* Sets "FILE: PART: WHAT is not implemented."; returns FALSE. */
gboolean vlm_tokenizer_refuse (
    const VlmJson *json, const char *what, GError **error);

G_END_DECLS
