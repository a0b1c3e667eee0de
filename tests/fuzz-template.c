/* fuzz-template.c - renders any bytes as a chat template
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <stdint.h>

#include "engine/chat-template.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const VlmChatPart question[] = { { NULL }, { "What is this?" } };
  const VlmChatPart answer[] = { { " A caf\303\251. " } };
  const VlmChatMessage messages[] = {
    { "user", 2, question },
    { "assistant", 1, answer },
    { "user", 1, answer },
  };
  VlmChat chat = { 3, messages, size & 1, "<s>", "</s>", NULL, "<pad>" };
  g_autofree char *source = g_strndup ((const char *) data, size);
  g_autoptr (GError) error = NULL;
  g_autofree char *text =
      vlm_chat_template_render (source, "chat_template", &chat, &error);
  g_assert_true (!text == !!error);
  g_assert_true (!text || g_utf8_validate (text, -1, NULL));
  return 0;
}
