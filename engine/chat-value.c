/* chat-value.c - values of templates, and the memory they live in
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * They behave as Python's do: truth, equality, order, membership.
 */
#define _GNU_SOURCE /* memmem */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"
#include "engine/unicode.h"

#define BLOCK_BYTES 16384

void
chat_run_clear (ChatRun *run)
{
  g_slist_free_full (run->blocks, g_free);
  run->blocks = NULL;
  g_clear_error (&run->error);
}

static void
fail_valist (ChatRun *run, int code, const char *format, va_list args)
{
  g_autofree char *message = g_strdup_vprintf (vlm_text (format), args);
  if (!run->failed)
    vlm_fail (&run->error, code, VLM_ABOUT (.file = run->file),
        "%s: line %d: %s", run->file, run->line, message);
  run->failed = TRUE;
}

void
chat_fail (ChatRun *run, int code, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  fail_valist (run, code, format, args);
  va_end (args);
}

void
chat_refuse (ChatRun *run, const char *format, ...)
{
  va_list args;
  g_autofree char *what = NULL;
  va_start (args, format);
  what = g_strdup_vprintf (vlm_text (format), args);
  va_end (args);
  chat_fail (run, VLM_ERROR_WRONG_TYPE, "%s is not implemented.", what);
}

gpointer
chat_alloc (ChatRun *run, gsize bytes)
{
  if (run->failed)
    return NULL;
  if (bytes > CHAT_MAX_BYTES - run->used_bytes) {
    chat_fail (run, VLM_ERROR_DATA, "the template needs more than %d bytes.",
        CHAT_MAX_BYTES);
    return NULL;
  }
  bytes = (bytes + 15) & ~(gsize) 15;
  run->used_bytes = MIN (run->used_bytes + bytes, CHAT_MAX_BYTES);
  if (bytes > run->free_bytes) {
    run->free_bytes = MAX (bytes, BLOCK_BYTES);
    run->free_at = g_malloc0 (run->free_bytes);
    run->blocks = g_slist_prepend (run->blocks, run->free_at);
  }
  char *at = run->free_at;
  run->free_at += bytes;
  run->free_bytes -= bytes;
  return at;
}

gboolean
chat_step (ChatRun *run, gsize bytes)
{
  run->steps += 1 + bytes / 64;
  if (run->steps > CHAT_MAX_STEPS)
    chat_fail (run, VLM_ERROR_DATA, "the template runs too long.");
  return !run->failed;
}

ChatValue
chat_undefined (const char *name)
{
  return (ChatValue){ .kind = CHAT_UNDEFINED, .name = name };
}

ChatValue
chat_none (void)
{
  return (ChatValue){ .kind = CHAT_NONE };
}

ChatValue
chat_boolean (gboolean b)
{
  return (ChatValue){ .kind = CHAT_BOOLEAN, .integer = b ? 1 : 0 };
}

ChatValue
chat_integer (gint64 i)
{
  return (ChatValue){ .kind = CHAT_INTEGER, .integer = i };
}

ChatValue
chat_function (ChatFunction function)
{
  return (ChatValue){ .kind = CHAT_FUNCTION, .integer = function };
}

ChatValue
chat_text_room (ChatRun *run, gsize length)
{
  ChatText *text = chat_alloc (run, sizeof *text + length + 1);
  if (!text)
    return chat_undefined (NULL);
  text->bytes = (char *) (text + 1);
  text->length = length;
  return (ChatValue){ .kind = CHAT_TEXT, .text = text };
}

ChatValue
chat_text (ChatRun *run, const char *bytes, gsize length)
{
  ChatValue value = chat_text_room (run, length);
  if (value.kind == CHAT_TEXT)
    memcpy (value.text->bytes, bytes, length);
  return value;
}

ChatValue
chat_string (ChatRun *run, const char *string)
{
  return chat_text (run, string, strlen (string));
}

ChatValue
chat_list (ChatRun *run, guint n)
{
  ChatList *list =
      chat_alloc (run, sizeof *list + n * (gsize) sizeof (ChatValue));
  if (!list)
    return chat_undefined (NULL);
  list->items = (ChatValue *) (list + 1);
  list->n = n;
  return (ChatValue){ .kind = CHAT_LIST, .list = list };
}

ChatValue
chat_map (ChatRun *run)
{
  ChatMap *map = chat_alloc (run, sizeof *map);
  if (!map)
    return chat_undefined (NULL);
  return (ChatValue){ .kind = CHAT_MAP, .map = map };
}

ChatValue *
chat_map_get (ChatRun *run, const ChatMap *map, const char *key, gsize length)
{
  chat_step (run, map->n * 16);
  for (guint i = 0; i < map->n; i++) {
    const ChatText *other = map->pairs[i].key;
    if (other->length == length && !memcmp (other->bytes, key, length))
      return &map->pairs[i].value;
  }
  return NULL;
}

void
chat_map_set (ChatRun *run, ChatMap *map, ChatText *key, ChatValue value)
{
  ChatValue *old = chat_map_get (run, map, key->bytes, key->length);
  if (old) {
    *old = value;
    return;
  }
  if (map->n == map->room) {
    guint room = 2 * map->room + 4;
    ChatPair *pairs = chat_alloc (run, room * sizeof *pairs);
    if (!pairs)
      return;
    if (map->n)
      memcpy (pairs, map->pairs, map->n * sizeof *pairs);
    map->pairs = pairs;
    map->room = room;
  }
  map->pairs[map->n++] = (ChatPair){ key, value };
}

const char *
chat_kind_name (ChatKind kind)
{
  static const char *const names[] = { "an undefined value", "none",
    "true or false", "a number", "a text", "a list", "a map", "a namespace",
    "a loop", "a function" };
  return names[kind];
}

gboolean
chat_is_true (const ChatValue *value)
{
  switch (value->kind) {
  case CHAT_UNDEFINED:
  case CHAT_NONE:
    return FALSE;
  case CHAT_BOOLEAN:
  case CHAT_INTEGER:
    return value->integer != 0;
  case CHAT_TEXT:
    return value->text->length > 0;
  case CHAT_LIST:
    return value->list->n > 0;
  case CHAT_MAP:
    return value->map->n > 0;
  default:
    return TRUE;
  }
}

static gboolean
is_number (const ChatValue *value)
{
  return value->kind == CHAT_INTEGER || value->kind == CHAT_BOOLEAN;
}

static gboolean equal_below (
    ChatRun *run, const ChatValue *a, const ChatValue *b, guint depth);

static gboolean
equal_maps (ChatRun *run, const ChatMap *a, const ChatMap *b, guint depth)
{
  if (a->n != b->n)
    return FALSE;
  for (guint i = 0; i < a->n && !run->failed; i++) {
    const ChatText *key = a->pairs[i].key;
    const ChatValue *other = chat_map_get (run, b, key->bytes, key->length);
    if (!other || !equal_below (run, &a->pairs[i].value, other, depth + 1))
      return FALSE;
  }
  return TRUE;
}

static gboolean
equal_below (ChatRun *run, const ChatValue *a, const ChatValue *b, guint depth)
{
  if (depth > CHAT_MAX_DEPTH) {
    chat_fail (run, VLM_ERROR_DATA, "values are nested too deeply.");
    return FALSE;
  }
  if (!chat_step (run, 0))
    return FALSE;
  if (is_number (a) && is_number (b))
    return a->integer == b->integer;
  if (a->kind != b->kind)
    return FALSE;
  switch (a->kind) {
  case CHAT_UNDEFINED:
  case CHAT_NONE:
    return TRUE;
  case CHAT_TEXT:
    chat_step (run, a->text->length);
    return a->text->length == b->text->length &&
           !memcmp (a->text->bytes, b->text->bytes, a->text->length);
  case CHAT_LIST:
    if (a->list->n != b->list->n)
      return FALSE;
    for (guint i = 0; i < a->list->n; i++)
      if (!equal_below (run, &a->list->items[i], &b->list->items[i], depth + 1))
        return FALSE;
    return TRUE;
  case CHAT_MAP:
    return equal_maps (run, a->map, b->map, depth);
  case CHAT_FUNCTION:
    return a->integer == b->integer;
  default:
    return a->map == b->map;
  }
}

gboolean
chat_equal (ChatRun *run, const ChatValue *a, const ChatValue *b)
{
  return equal_below (run, a, b, 0);
}

int
chat_compare (ChatRun *run, const ChatValue *a, const ChatValue *b)
{
  if (is_number (a) && is_number (b))
    return a->integer < b->integer ? -1 : a->integer > b->integer;
  if (a->kind != CHAT_TEXT || b->kind != CHAT_TEXT) {
    chat_fail (run, VLM_ERROR_DATA, "%s and %s have no order.",
        chat_kind_name (a->kind), chat_kind_name (b->kind));
    return 0;
  }
  gsize n = MIN (a->text->length, b->text->length);
  chat_step (run, n);
  int order = memcmp (a->text->bytes, b->text->bytes, n);
  if (order)
    return order;
  return a->text->length < b->text->length ? -1
                                           : a->text->length > b->text->length;
}

gssize
chat_find (ChatRun *run, const ChatText *text, gsize from, const ChatText *part)
{
  if (from > text->length || !chat_step (run, text->length - from))
    return -1;
  const char *at = memmem (
      text->bytes + from, text->length - from, part->bytes, part->length);
  return at ? at - text->bytes : -1;
}

gboolean
chat_contains (ChatRun *run, const ChatValue *whole, const ChatValue *part)
{
  ChatText *text;
  switch (whole->kind) {
  case CHAT_UNDEFINED:
    return FALSE;
  case CHAT_TEXT:
    text = chat_want_text (run, part, "\"in\" a text");
    if (!text)
      return FALSE;
    return chat_find (run, whole->text, 0, text) >= 0;
  case CHAT_MAP:
    return part->kind == CHAT_TEXT &&
           chat_map_get (
               run, whole->map, part->text->bytes, part->text->length);
  case CHAT_LIST:
    for (guint i = 0; i < whole->list->n && !run->failed; i++)
      if (chat_equal (run, &whole->list->items[i], part))
        return TRUE;
    return FALSE;
  default:
    chat_fail (run, VLM_ERROR_DATA, "%s contains nothing.",
        chat_kind_name (whole->kind));
    return FALSE;
  }
}

ChatText *
chat_to_text (ChatRun *run, const ChatValue *value)
{
  char number[32];
  ChatValue text = chat_undefined (NULL);
  switch (value->kind) {
  case CHAT_TEXT:
    return value->text;
  case CHAT_UNDEFINED:
    text = chat_string (run, "");
    break;
  case CHAT_NONE:
    text = chat_string (run, "None");
    break;
  case CHAT_BOOLEAN:
    text = chat_string (run, value->integer ? "True" : "False");
    break;
  case CHAT_INTEGER:
    g_snprintf (number, sizeof number, "%" G_GINT64_FORMAT, value->integer);
    text = chat_string (run, number);
    break;
  default:
    chat_refuse (run, "writing %s as text", chat_kind_name (value->kind));
  }
  return text.kind == CHAT_TEXT ? text.text : NULL;
}

static void
fail_undefined (ChatRun *run, const ChatValue *value)
{
  chat_fail (run, VLM_ERROR_DATA, "\"%.80s\" is undefined.",
      value->name ? value->name : "this value");
}

ChatText *
chat_want_text (ChatRun *run, const ChatValue *value, const char *what)
{
  if (value->kind == CHAT_TEXT)
    return value->text;
  if (value->kind == CHAT_UNDEFINED && value->name)
    fail_undefined (run, value);
  chat_fail (run, VLM_ERROR_DATA, "%s wants a text, but %s was found.", what,
      chat_kind_name (value->kind));
  return NULL;
}

gint64
chat_n_characters (const ChatText *text)
{
  gint64 n = 0;
  for (gsize i = 0; i < text->length; i++)
    n += (text->bytes[i] & 0xc0) != 0x80;
  return n;
}

static ChatValue
list_characters (ChatRun *run, const ChatText *text)
{
  ChatValue list = chat_list (run, chat_n_characters (text));
  const char *p = text->bytes;
  for (guint i = 0; list.kind == CHAT_LIST && i < list.list->n; i++) {
    const char *next = g_utf8_next_char (p);
    list.list->items[i] = chat_text (run, p, next - p);
    p = next;
  }
  return list;
}

ChatList *
chat_items (ChatRun *run, const ChatValue *value)
{
  ChatValue list = chat_undefined (NULL);
  switch (value->kind) {
  case CHAT_LIST:
    return value->list;
  case CHAT_UNDEFINED:
    list = chat_list (run, 0);
    break;
  case CHAT_TEXT:
    list = list_characters (run, value->text);
    break;
  case CHAT_MAP:
    list = chat_list (run, value->map->n);
    for (guint i = 0; list.kind == CHAT_LIST && i < list.list->n; i++)
      list.list->items[i] =
          (ChatValue){ .kind = CHAT_TEXT, .text = value->map->pairs[i].key };
    break;
  default:
    chat_fail (run, VLM_ERROR_DATA, "%s was found where a list was expected.",
        chat_kind_name (value->kind));
  }
  return run->failed ? NULL : list.list;
}

static ChatValue
loop_attribute (ChatRun *run, const ChatLoop *loop, const char *name)
{
  guint i = loop->index, n = loop->list->n;
  if (strcmp (name, "index") == 0)
    return chat_integer (i + 1);
  if (strcmp (name, "index0") == 0)
    return chat_integer (i);
  if (strcmp (name, "first") == 0)
    return chat_boolean (i == 0);
  if (strcmp (name, "last") == 0)
    return chat_boolean (i + 1 == n);
  if (strcmp (name, "length") == 0)
    return chat_integer (n);
  if (strcmp (name, "revindex") == 0)
    return chat_integer (n - i);
  if (strcmp (name, "revindex0") == 0)
    return chat_integer (n - i - 1);
  if (strcmp (name, "depth") == 0)
    return chat_integer (1); /* it counts recursive loops only */
  if (strcmp (name, "depth0") == 0)
    return chat_integer (0);
  if (strcmp (name, "previtem") == 0)
    return i ? loop->list->items[i - 1] : chat_undefined (name);
  if (strcmp (name, "nextitem") == 0)
    return i + 1 < n ? loop->list->items[i + 1] : chat_undefined (name);
  chat_refuse (run, "loop.%s", name);
  return chat_undefined (name);
}

ChatValue
chat_attribute (ChatRun *run, const ChatValue *value, const char *name)
{
  const ChatValue *found = NULL;
  switch (value->kind) {
  case CHAT_UNDEFINED:
    fail_undefined (run, value);
    break;
  case CHAT_LOOP:
    return loop_attribute (run, value->loop, name);
  case CHAT_MAP:
  case CHAT_NAMESPACE:
    found = chat_map_get (run, value->map, name, strlen (name));
    break;
  default:
    break;
  }
  return found ? *found : chat_undefined (name);
}

ChatValue
chat_item (ChatRun *run, const ChatValue *value, const ChatValue *item)
{
  gint64 n = 0, i = item->integer;
  if (item->kind == CHAT_TEXT)
    return chat_attribute (run, value, item->text->bytes);
  if (value->kind == CHAT_UNDEFINED)
    fail_undefined (run, value);
  if (!is_number (item))
    return chat_undefined ("item");
  if (value->kind == CHAT_LIST)
    n = value->list->n;
  else if (value->kind == CHAT_TEXT && chat_step (run, value->text->length))
    n = chat_n_characters (value->text);
  if (i < 0)
    i += n;
  if (i < 0 || i >= n)
    return chat_undefined ("item");
  if (value->kind == CHAT_LIST)
    return value->list->items[i];
  const char *p = g_utf8_offset_to_pointer (value->text->bytes, i);
  return chat_text (run, p, g_utf8_next_char (p) - p);
}

gboolean
chat_is_space (gunichar c)
{
  return vlm_unicode_is_space (c) || (c >= 0x1c && c <= 0x1f);
}
