/* chat-template.c - a conversation as a template sees it, and the rendering
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-template.h"

#include <string.h>

#include "engine/chat-parts.h"
#include "engine/unicode.h"

static ChatValue
repaired (ChatRun *run, const char *string)
{
  gsize length;
  g_autofree char *text = vlm_utf8_repair (string, strlen (string), &length);
  return chat_text (run, text, length);
}

static void
set (ChatRun *run, ChatValue map, const char *key, ChatValue value)
{
  ChatValue text = chat_string (run, key);
  if (!run->failed)
    chat_map_set (run, map.map, text.text, value);
}

/* {"type": "image"} or {"type": "text", "text": ...} */
static ChatValue
make_part (ChatRun *run, const VlmChatPart *part)
{
  ChatValue map = chat_map (run);
  set (run, map, "type", chat_string (run, part->text ? "text" : "image"));
  if (part->text)
    set (run, map, "text", repaired (run, part->text));
  return map;
}

static ChatValue
make_message (ChatRun *run, const VlmChatMessage *message)
{
  ChatValue map = chat_map (run);
  ChatValue content = chat_list (run, message->n_parts);
  for (int i = 0; i < message->n_parts && !run->failed; i++)
    content.list->items[i] = make_part (run, &message->parts[i]);
  set (run, map, "role", repaired (run, message->role));
  set (run, map, "content", content);
  return map;
}

static ChatValue
make_variables (ChatRun *run, const VlmChat *chat)
{
  const struct {
    const char *name, *value;
  } tokens[] = {
    { "bos_token", chat->bos_token },
    { "eos_token", chat->eos_token },
    { "unk_token", chat->unk_token },
    { "pad_token", chat->pad_token },
  };
  ChatValue map = chat_map (run);
  ChatValue messages = chat_list (run, chat->n_messages);
  for (int i = 0; i < chat->n_messages && !run->failed; i++)
    messages.list->items[i] = make_message (run, &chat->messages[i]);
  set (run, map, "messages", messages);
  set (run, map, "add_generation_prompt",
      chat_boolean (chat->add_generation_prompt));
  for (gsize i = 0; i < G_N_ELEMENTS (tokens); i++)
    if (tokens[i].value)
      set (run, map, tokens[i].name, repaired (run, tokens[i].value));
  return map;
}

char *
vlm_chat_template_render (
    const char *source, const char *file, const VlmChat *chat, GError **error)
{
  ChatRun run = { .file = file, .line = 1 };
  gsize length;
  g_autofree char *text = vlm_utf8_repair (source, strlen (source), &length);
  g_autoptr (GString) out = g_string_new (NULL);
  GArray *tokens = chat_lex (&run, text);
  ChatNode *program = chat_parse (&run, tokens);
  if (!run.failed) {
    ChatValue variables = make_variables (&run, chat);
    if (!run.failed)
      chat_evaluate (&run, program, variables.map, out);
  }
  g_array_unref (tokens);
  gboolean failed = run.failed;
  if (failed)
    g_propagate_error (error, g_steal_pointer (&run.error));
  chat_run_clear (&run);
  return failed ? NULL : g_string_free (g_steal_pointer (&out), FALSE);
}
