/* prompt.c - what is asked, as token ids with the picture's place among them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/prompt.h"

#include <glib/gi18n-lib.h>

#include "engine/chat-template.h"
#include "engine/error.h"

#define IMAGE_MARKER "<image>"

VlmTokenizer *
vlm_prompt_tokenizer (const VlmModel *model, GError **error)
{
  gboolean json = g_str_equal (model->tokenizer_file, "tokenizer.json");
  g_autofree char *file =
      g_build_filename (model->folder, model->tokenizer_file, NULL);
  g_autoptr (VlmTokenizer) tokenizer =
      (json ? vlm_tokenizer_new : vlm_tokenizer_new_sentencepiece) (
          model->tokenizer, model->tokenizer_length, file, model->add_bos,
          model->add_eos, model->bos_token, model->eos_token, error);

  if (!tokenizer ||
      (!json && !vlm_tokenizer_add_listed (tokenizer, model->folder,
                    (const char *const *) model->token_texts, error)))
    return NULL;
  if (model->config.original)
    vlm_tokenizer_add_marker (tokenizer, IMAGE_MARKER);
  return g_steal_pointer (&tokenizer);
}

gboolean
vlm_prompt_image_id (int *id, const VlmModel *model,
    const VlmTokenizer *tokenizer, GError **error)
{
  *id = vlm_tokenizer_id (tokenizer, IMAGE_MARKER);
  if (*id < 0) {
    g_autofree char *file =
        g_build_filename (model->folder, model->tokenizer_file, NULL);
    return vlm_fail_expected (
        error, VLM_ERROR_DATA, file, "a token <image>", N_ ("there is none"));
  }
  if (model->config.image_token >= 0 && *id != model->config.image_token)
    g_warning ("%s: the tokenizer's id of %s is %d, config.json says %d; the "
               "tokenizer's is used.",
        model->folder, IMAGE_MARKER, *id, model->config.image_token);
  return TRUE;
}

static char *
render (const VlmModel *model, const char *question, const char *system,
    GError **error)
{
  VlmChatPart ask[] = { { NULL }, { question } }, rule = { system };
  VlmChatMessage messages[] = { { "system", 1, &rule }, { "user", 2, ask } };
  VlmChat chat = {
    .n_messages = system ? 2 : 1,
    .messages = system ? messages : messages + 1,
    .add_generation_prompt = TRUE,
    .bos_token = model->bos_token,
    .eos_token = model->eos_token,
  };
  if (!model->chat_template) {
    vlm_fail (error, VLM_ERROR_REQUEST,
        VLM_ABOUT (.file = model->folder, .setting = "raw-prompt",
            .expected = "a chat template"),
        "%s: a chat template was expected, but the folder has none; give the "
        "whole text as a raw prompt.",
        model->folder);
    return NULL;
  }
  g_autofree char *file =
      g_build_filename (model->folder, model->chat_template_file, NULL);
  return vlm_chat_template_render (model->chat_template, file, &chat, error);
}

static gboolean
find_image (VlmPrompt *prompt, int image_id, GError **error)
{
  int n_images = 0;
  for (int i = 0; i < prompt->n; i++)
    if (prompt->ids[i] == image_id) {
      prompt->image_at = i;
      n_images++;
    }
  if (n_images == 1)
    return TRUE;
  vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The prompt has %d %s markers, but one was expected: a description is "
      "of one picture.",
      n_images, IMAGE_MARKER);
  return FALSE;
}

gboolean
vlm_prompt_build (VlmPrompt *prompt, const VlmModel *model,
    const VlmTokenizer *tokenizer, int image_id, const char *question,
    const char *system, gboolean raw, GError **error)
{
  *prompt = (VlmPrompt){ 0 };
  if (!question && raw)
    return vlm_fail (error, VLM_ERROR_SETTINGS, VLM_ABOUT (.setting = "prompt"),
        "A raw prompt was asked for, but no prompt is set.");
  if (!question)
    question = VLM_DEFAULT_PROMPT;
  prompt->text =
      raw ? g_strdup (question) : render (model, question, system, error);
  if (!prompt->text)
    return FALSE;

  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint32));
  vlm_tokenizer_encode_prompt (tokenizer, prompt->text, -1, ids);
  prompt->n = ids->len;
  prompt->ids = (int *) (void *) g_array_free (g_steal_pointer (&ids), FALSE);
  if (find_image (prompt, image_id, error))
    return TRUE;
  vlm_prompt_clear (prompt);
  return FALSE;
}

void
vlm_prompt_clear (VlmPrompt *prompt)
{
  g_clear_pointer (&prompt->text, g_free);
  g_clear_pointer (&prompt->ids, g_free);
}
