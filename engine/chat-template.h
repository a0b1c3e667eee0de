/* chat-template.h - messages to prompt text, as the checkpoint's template says
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checkpoints bring their prompt format as a Jinja program. This is the part
 * of Jinja that such templates use, under the settings of transformers
 * (trim_blocks and lstrip_blocks on, no escaping): output, if, for, set,
 * break, continue, generation, comments; names, attributes, subscripts and
 * slices, literals, operators, inline if; the tests of chat-tests.c, the
 * filters of chat-filters.c, the methods of chat-methods.c; namespace, range,
 * dict and raise_exception.
 * Anything else (macros, includes ...) is refused by its name and line.
 * Depth, steps and size are bounded: no template crashes or hangs.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const char *text; /* NULL: this part is an image */
} VlmChatPart;

typedef struct {
  const char *role; /* "system", "user", "assistant" */
  int n_parts;
  const VlmChatPart *parts; /* [n_parts] in order */
} VlmChatMessage;

/* What a template can see. Borrowed, all of it. */
typedef struct {
  int n_messages;
  const VlmChatMessage *messages; /* [n_messages] */
  gboolean add_generation_prompt; /* end with the opening of a reply */
  const char *bos_token, *eos_token, *unk_token, *pad_token; /* or NULL */
} VlmChat;

/* Renders a template; `file` begins messages. The caller frees the text. A
 * template's own raise_exception fails with VLM_ERROR_REQUEST and its words;
 * everything else that is wrong with it with VLM_ERROR_DATA (it does not
 * parse, or does what its values do not allow) or VLM_ERROR_WRONG_TYPE (a
 * construct that is not implemented). Source of the variables and settings:
 * transformers' chat_template_utils.py. */
char *vlm_chat_template_render (
    const char *source, const char *file, const VlmChat *chat, GError **error);

G_END_DECLS
