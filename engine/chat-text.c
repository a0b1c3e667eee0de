/* chat-text.c - what templates do to texts, as Python does it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

static gboolean
in_set (const ChatValue *characters, gunichar c)
{
  if (!characters || characters->kind != CHAT_TEXT)
    return chat_is_space (c);
  return g_utf8_strchr (characters->text->bytes, characters->text->length, c) !=
         NULL;
}

ChatValue
chat_strip (ChatRun *run, const ChatText *text, const ChatValue *characters,
    gboolean left, gboolean right)
{
  const char *begin = text->bytes, *end = begin + text->length;
  gsize cost = characters && characters->kind == CHAT_TEXT
                   ? characters->text->length
                   : 0;
  while (left && begin < end && chat_step (run, cost) &&
         in_set (characters, g_utf8_get_char (begin)))
    begin = g_utf8_next_char (begin);
  while (right && begin < end && chat_step (run, cost)) {
    const char *last = g_utf8_prev_char (end);
    if (!in_set (characters, g_utf8_get_char (last)))
      break;
    end = last;
  }
  return chat_text (run, begin, end - begin);
}

/* An empty `from` is found before each character and at the end. */
ChatValue
chat_replace (ChatRun *run, const ChatText *text, const ChatText *from,
    const ChatText *to, gint64 limit)
{
  g_autoptr (GString) out = g_string_new (NULL);
  gsize at = 0;
  for (gint64 i = 0; limit < 0 || i < limit; i++) {
    gssize found = chat_find (run, text, at, from);
    if (found < 0 || run->failed)
      break;
    if (out->len + text->length + to->length > CHAT_MAX_BYTES)
      return chat_text_room (run, CHAT_MAX_BYTES);
    g_string_append_len (out, text->bytes + at, found - at);
    g_string_append_len (out, to->bytes, to->length);
    at = found + from->length;
    if (from->length)
      continue;
    if (at == text->length)
      return chat_text (run, out->str, out->len);
    gsize next = g_utf8_next_char (text->bytes + at) - text->bytes;
    g_string_append_len (out, text->bytes + at, next - at);
    at = next;
  }
  g_string_append_len (out, text->bytes + at, text->length - at);
  return chat_text (run, out->str, out->len);
}

ChatValue
chat_join (ChatRun *run, const ChatList *list, const ChatText *between)
{
  g_autoptr (GString) out = g_string_new (NULL);
  for (guint i = 0; i < list->n && !run->failed; i++) {
    const ChatText *text = chat_to_text (run, &list->items[i]);
    if (!text || !chat_step (run, text->length + between->length))
      break;
    if (out->len + text->length + between->length > CHAT_MAX_BYTES)
      return chat_text_room (run, CHAT_MAX_BYTES);
    if (i)
      g_string_append_len (out, between->bytes, between->length);
    g_string_append_len (out, text->bytes, text->length);
  }
  return chat_text (run, out->str, out->len);
}

/* The characters after which Jinja's title filter writes a capital. */
static gboolean
begins_title_word (gunichar c)
{
  return chat_is_space (c) || (c < 0x80 && c && strchr ("-({[<", c));
}

ChatValue
chat_change_case (ChatRun *run, const ChatText *text, ChatCase how)
{
  g_autoptr (GString) out = g_string_sized_new (text->length);
  const char *end = text->bytes + text->length;
  gboolean capital = how != CHAT_LOWER;
  for (const char *p = text->bytes; p < end; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    if (!capital)
      g_string_append_unichar (out, g_unichar_tolower (c));
    else if (how == CHAT_TITLE_METHOD || how == CHAT_CAPITALIZE)
      g_string_append_unichar (out, g_unichar_totitle (c));
    else
      g_string_append_unichar (out, g_unichar_toupper (c));
    if (how == CHAT_CAPITALIZE)
      capital = FALSE;
    else if (how == CHAT_TITLE_METHOD)
      capital = !g_unichar_isalpha (c);
    else if (how == CHAT_TITLE_FILTER)
      capital = begins_title_word (c);
  }
  return chat_text (run, out->str, out->len);
}
