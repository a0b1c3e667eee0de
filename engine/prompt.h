/* prompt.h - what is asked, as token ids with the picture's place among them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * question, system prompt -> chat template -> text with one <image> -> ids.
 * The processor of transformers writes one placeholder per image token; the
 * copies are added tokens, so writing one and putting the picture's rows in
 * its place gives the same sequence.
 */
#pragma once

#include "engine/model.h"
#include "engine/tokenizer.h"

G_BEGIN_DECLS

/* Asked when no prompt is set; the shipped model was trained on it. */
#define VLM_DEFAULT_PROMPT "Describe the picture."

typedef struct {
  char *text; /* after the template */
  int *ids;   /* [n] the picture once, as image_id */
  int n;
  int image_at; /* index of that one */
} VlmPrompt;

/* The tokenizer of a model's file; in an original folder <image> is added to
 * it. */
VlmTokenizer *vlm_prompt_tokenizer (const VlmModel *model, GError **error);

/* The tokenizer's id of <image>. It may differ from config.json's, which is
 * said in the log once; neither is ever looked up in the embedding table.
 * VLM_ERROR_DATA if the tokenizer has no such token. */
gboolean vlm_prompt_image_id (int *id, const VlmModel *model,
    const VlmTokenizer *tokenizer, GError **error);

/* `question` NULL: the default. `raw`: question is the whole text, with its
 * <image>, and the template is passed by. VLM_ERROR_REQUEST unless the result
 * has exactly one <image>. */
gboolean vlm_prompt_build (VlmPrompt *prompt, const VlmModel *model,
    const VlmTokenizer *tokenizer, int image_id, const char *question,
    const char *system, gboolean raw, GError **error);
void vlm_prompt_clear (VlmPrompt *prompt);

G_END_DECLS
