/* chat-operators.c - what stands between two values
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

static ChatValue
join_two (ChatRun *run, const ChatText *a, const ChatText *b)
{
  if (!a || !b)
    return chat_undefined (NULL);
  ChatValue both = chat_text_room (run, a->length + b->length);
  if (both.kind != CHAT_TEXT)
    return both;
  memcpy (both.text->bytes, a->bytes, a->length);
  memcpy (both.text->bytes + a->length, b->bytes, b->length);
  return both;
}

static ChatValue
join_lists (ChatRun *run, const ChatList *a, const ChatList *b)
{
  ChatValue list = chat_list (run, a->n + b->n);
  if (list.kind != CHAT_LIST)
    return list;
  for (guint i = 0; i < a->n; i++)
    list.list->items[i] = a->items[i];
  for (guint i = 0; i < b->n; i++)
    list.list->items[a->n + i] = b->items[i];
  return list;
}

/* Rounds towards minus infinity, as Python does. */
static gint64
divide (ChatRun *run, gint64 a, gint64 b, gboolean remainder)
{
  if (b == 0) {
    chat_fail (run, VLM_ERROR_DATA, "a number is divided by zero.");
    return 0;
  }
  if (b == -1)
    return remainder ? 0 : -a; /* the smallest number was kept out */
  gint64 q = a / b, r = a % b;
  if (r && (r < 0) != (b < 0)) {
    q--;
    r += b;
  }
  return remainder ? r : q;
}

static ChatValue
arithmetic (ChatRun *run, const char *op, gint64 a, gint64 b)
{
  gint64 result = 0;
  gboolean over = FALSE;
  if (!strcmp (op, "+"))
    over = __builtin_add_overflow (a, b, &result);
  else if (!strcmp (op, "-"))
    over = __builtin_sub_overflow (a, b, &result);
  else if (!strcmp (op, "*"))
    over = __builtin_mul_overflow (a, b, &result);
  else if (a == G_MININT64)
    over = TRUE;
  else if (!strcmp (op, "//"))
    result = divide (run, a, b, FALSE);
  else if (!strcmp (op, "%"))
    result = divide (run, a, b, TRUE);
  else
    chat_refuse (run, "the operator \"%s\" on numbers", op);
  if (over)
    chat_refuse (run, "so large a number");
  return chat_integer (result);
}

static gboolean
is_number (const ChatValue *value)
{
  return value->kind == CHAT_INTEGER || value->kind == CHAT_BOOLEAN;
}

static ChatValue
calculate (ChatRun *run, const char *op, const ChatValue *a, const ChatValue *b)
{
  if (!strcmp (op, "~"))
    return join_two (run, chat_to_text (run, a), chat_to_text (run, b));
  if (is_number (a) && is_number (b))
    return arithmetic (run, op, a->integer, b->integer);
  if (!strcmp (op, "+") && a->kind == CHAT_TEXT && b->kind == CHAT_TEXT)
    return join_two (run, a->text, b->text);
  if (!strcmp (op, "+") && a->kind == CHAT_LIST && b->kind == CHAT_LIST)
    return join_lists (run, a->list, b->list);
  const ChatValue *missing = a->kind == CHAT_UNDEFINED   ? a
                             : b->kind == CHAT_UNDEFINED ? b
                                                         : NULL;
  if (missing && missing->name)
    chat_fail (run, VLM_ERROR_DATA, "\"%.80s\" is undefined.", missing->name);
  else
    chat_fail (run, VLM_ERROR_DATA, "\"%s\" does not go between %s and %s.", op,
        chat_kind_name (a->kind), chat_kind_name (b->kind));
  return chat_undefined (NULL);
}

ChatValue
chat_combine (
    ChatRun *run, const char *op, const ChatValue *a, const ChatValue *b)
{
  if (!strcmp (op, "=="))
    return chat_boolean (chat_equal (run, a, b));
  if (!strcmp (op, "!="))
    return chat_boolean (!chat_equal (run, a, b));
  if (!strcmp (op, "in"))
    return chat_boolean (chat_contains (run, b, a));
  if (!strcmp (op, "not in"))
    return chat_boolean (!chat_contains (run, b, a));
  if (!strcmp (op, "<"))
    return chat_boolean (chat_compare (run, a, b) < 0);
  if (!strcmp (op, "<="))
    return chat_boolean (chat_compare (run, a, b) <= 0);
  if (!strcmp (op, ">"))
    return chat_boolean (chat_compare (run, a, b) > 0);
  if (!strcmp (op, ">="))
    return chat_boolean (chat_compare (run, a, b) >= 0);
  return calculate (run, op, a, b);
}
