/* chat-filters.c - what may follow "|"
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

typedef ChatValue (*FilterFunc) (
    ChatRun *run, const ChatValue *value, const ChatArgs *args);

typedef struct {
  const char *name;
  FilterFunc func;
  guint max_args;
} Filter;

const ChatValue *
chat_arg (const ChatArgs *args, int position, const char *name)
{
  if (position >= 0 && position < (int) args->n)
    return &args->values[position];
  for (guint i = 0; name && i < args->n_named; i++)
    if (strcmp (args->names[i], name) == 0)
      return &args->values[args->n + i];
  return NULL;
}

static ChatValue
filter_trim (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatText *text = chat_to_text (run, value);
  return text ? chat_strip (run, text, chat_arg (args, 0, "chars"), TRUE, TRUE)
              : chat_undefined (NULL);
}

static ChatValue
change_case (ChatRun *run, const ChatValue *value, ChatCase how)
{
  const ChatText *text = chat_to_text (run, value);
  return text ? chat_change_case (run, text, how) : chat_undefined (NULL);
}

static ChatValue
filter_upper (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return change_case (run, value, CHAT_UPPER);
}

static ChatValue
filter_lower (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return change_case (run, value, CHAT_LOWER);
}

static ChatValue
filter_title (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return change_case (run, value, CHAT_TITLE_FILTER);
}

static ChatValue
filter_capitalize (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return change_case (run, value, CHAT_CAPITALIZE);
}

static ChatValue
filter_replace (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *from = chat_arg (args, 0, "old");
  const ChatValue *to = chat_arg (args, 1, "new");
  const ChatValue *limit = chat_arg (args, 2, "count");
  const ChatText *text = chat_to_text (run, value);
  const ChatText *old = from ? chat_to_text (run, from) : NULL;
  const ChatText *new = to ? chat_to_text (run, to) : NULL;
  if (!from || !to)
    chat_fail (run, VLM_ERROR_DATA, "\"replace\" wants two texts.");
  if (run->failed)
    return chat_undefined (NULL);
  return chat_replace (run, text, old, new,
      limit && limit->kind == CHAT_INTEGER ? limit->integer : -1);
}

static ChatValue
filter_length (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  switch (value->kind) {
  case CHAT_UNDEFINED:
    return chat_integer (0);
  case CHAT_TEXT:
    chat_step (run, value->text->length);
    return chat_integer (chat_n_characters (value->text));
  case CHAT_LIST:
    return chat_integer (value->list->n);
  case CHAT_MAP:
    return chat_integer (value->map->n);
  default:
    chat_fail (
        run, VLM_ERROR_DATA, "%s has no length.", chat_kind_name (value->kind));
    return chat_undefined (NULL);
  }
}

static ChatValue
filter_first (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatList *list = chat_items (run, value);
  return list && list->n ? list->items[0] : chat_undefined ("first item");
}

static ChatValue
filter_last (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatList *list = chat_items (run, value);
  return list && list->n ? list->items[list->n - 1]
                         : chat_undefined ("last item");
}

static ChatValue
filter_list (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  ChatList *list = chat_items (run, value);
  if (!list)
    return chat_undefined (NULL);
  return (ChatValue){ .kind = CHAT_LIST, .list = list };
}

static ChatValue
filter_reverse (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatText nothing = { 0, "" };
  const ChatList *list = chat_items (run, value);
  ChatValue reversed = list ? chat_list (run, list->n) : chat_undefined (NULL);
  if (reversed.kind != CHAT_LIST)
    return reversed;
  for (guint i = 0; i < list->n; i++)
    reversed.list->items[i] = list->items[list->n - 1 - i];
  return value->kind == CHAT_TEXT ? chat_join (run, reversed.list, &nothing)
                                  : reversed;
}

static ChatValue
filter_string (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  ChatText *text = chat_to_text (run, value);
  if (!text)
    return chat_undefined (NULL);
  return (ChatValue){ .kind = CHAT_TEXT, .text = text };
}

static ChatValue
filter_int (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *fallback = chat_arg (args, 0, "default");
  gint64 number;
  if (value->kind == CHAT_INTEGER || value->kind == CHAT_BOOLEAN)
    return chat_integer (value->integer);
  if (value->kind == CHAT_TEXT) {
    g_autofree char *text = g_strdup (value->text->bytes);
    if (g_ascii_string_to_signed (
            g_strstrip (text), 10, G_MININT64, G_MAXINT64, &number, NULL))
      return chat_integer (number);
  }
  return fallback ? *fallback : chat_integer (0);
}

static ChatValue
filter_default (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *fallback = chat_arg (args, 0, "default_value");
  const ChatValue *empty_too = chat_arg (args, 1, "boolean");
  if (value->kind == CHAT_UNDEFINED ||
      (empty_too && chat_is_true (empty_too) && !chat_is_true (value)))
    return fallback ? *fallback : chat_string (run, "");
  return *value;
}

/* "a.b.0" of a value. */
static ChatValue
follow_path (ChatRun *run, ChatValue value, const ChatValue *path)
{
  if (path->kind == CHAT_INTEGER)
    return chat_item (run, &value, path);
  const ChatText *text = chat_want_text (run, path, "an attribute's name");
  g_auto (GStrv) names = text ? g_strsplit (text->bytes, ".", -1) : NULL;
  for (int i = 0; names && names[i] && !run->failed; i++) {
    gint64 index;
    if (g_ascii_string_to_signed (names[i], 10, 0, G_MAXINT32, &index, NULL)) {
      ChatValue item = chat_integer (index);
      value = chat_item (run, &value, &item);
    } else {
      value = chat_attribute (run, &value, names[i]);
    }
    if (value.kind == CHAT_UNDEFINED)
      value.name = "attribute";
  }
  return value;
}

static ChatValue
filter_join (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *between = chat_arg (args, 0, "d");
  const ChatValue *path = chat_arg (args, 1, "attribute");
  const ChatText nothing = { 0, "" }, *text = &nothing;
  const ChatList *list = chat_items (run, value);
  if (between)
    text = chat_to_text (run, between);
  if (list && path) {
    ChatValue parts = chat_list (run, list->n);
    for (guint i = 0; i < list->n && !run->failed; i++)
      parts.list->items[i] = follow_path (run, list->items[i], path);
    list = parts.list;
  }
  return run->failed ? chat_undefined (NULL) : chat_join (run, list, text);
}

/* The arguments after the first `skip`. */
static ChatArgs
rest_of (const ChatArgs *args, guint skip)
{
  ChatArgs rest = *args;
  skip = MIN (skip, args->n);
  rest.n -= skip;
  rest.values += skip;
  return rest;
}

/* select, reject, selectattr, rejectattr: items (or an attribute of theirs)
 * that a test named in the arguments accepts; without one, that are true. */
static ChatValue
pick (ChatRun *run, const ChatValue *value, const ChatArgs *args,
    gboolean by_attribute, gboolean wanted)
{
  const ChatList *list = chat_items (run, value);
  const ChatValue *path = by_attribute ? chat_arg (args, 0, NULL) : NULL;
  const ChatValue *name = chat_arg (args, by_attribute ? 1 : 0, NULL);
  const ChatText *text =
      name ? chat_want_text (run, name, "the name of a test") : NULL;
  ChatArgs rest = rest_of (args, by_attribute ? 2 : 1);
  if (by_attribute && !path)
    chat_fail (run, VLM_ERROR_DATA, "an attribute's name is missing.");
  ChatValue picked = chat_list (run, list ? list->n : 0);
  if (run->failed)
    return chat_undefined (NULL);
  picked.list->n = 0;
  for (guint i = 0; i < list->n && chat_step (run, 0); i++) {
    ChatValue item = list->items[i];
    if (path)
      item = follow_path (run, item, path);
    gboolean accepted = text ? chat_test_run (run, text->bytes, &item, &rest)
                             : chat_is_true (&item);
    if (accepted == wanted)
      picked.list->items[picked.list->n++] = list->items[i];
  }
  return picked;
}

static ChatValue
filter_select (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return pick (run, value, args, FALSE, TRUE);
}

static ChatValue
filter_reject (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return pick (run, value, args, FALSE, FALSE);
}

static ChatValue
filter_selectattr (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return pick (run, value, args, TRUE, TRUE);
}

static ChatValue
filter_rejectattr (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return pick (run, value, args, TRUE, FALSE);
}

/* map(attribute=..., default=...) or map(filter, its arguments) */
static ChatValue
filter_map (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatList *list = chat_items (run, value);
  const ChatValue *path = chat_arg (args, -1, "attribute");
  const ChatValue *fallback = chat_arg (args, -1, "default");
  const ChatValue *name = chat_arg (args, 0, NULL);
  const ChatText *text =
      name && !path ? chat_want_text (run, name, "the name of a filter") : NULL;
  ChatArgs rest = rest_of (args, 1);
  if (!path && !text)
    chat_fail (run, VLM_ERROR_DATA, "\"map\" wants a filter or attribute.");
  else if (text && strcmp (text->bytes, "map") == 0)
    chat_refuse (run, "\"map\" of \"map\"");
  ChatValue mapped = chat_list (run, list ? list->n : 0);
  for (guint i = 0; list && i < list->n && chat_step (run, 0); i++) {
    ChatValue item = list->items[i];
    item = path ? follow_path (run, item, path)
                : chat_filter_run (run, text->bytes, &item, &rest);
    if (fallback && item.kind == CHAT_UNDEFINED)
      item = *fallback;
    mapped.list->items[i] = item;
  }
  return mapped;
}

static ChatValue
filter_items (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  if (value->kind == CHAT_UNDEFINED)
    return chat_list (run, 0);
  return chat_method_run (run, value, "items", args);
}

static ChatValue
filter_safe (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return filter_string (run, value, args);
}

ChatValue
chat_filter_run (ChatRun *run, const char *name, const ChatValue *value,
    const ChatArgs *args)
{
  static const Filter filters[] = {
    { "capitalize", filter_capitalize, 0 },
    { "count", filter_length, 0 },
    { "d", filter_default, 2 },
    { "default", filter_default, 2 },
    { "first", filter_first, 0 },
    { "int", filter_int, 1 },
    { "items", filter_items, 0 },
    { "join", filter_join, 2 },
    { "last", filter_last, 0 },
    { "length", filter_length, 0 },
    { "list", filter_list, 0 },
    { "lower", filter_lower, 0 },
    { "map", filter_map, 16 },
    { "reject", filter_reject, 16 },
    { "rejectattr", filter_rejectattr, 16 },
    { "replace", filter_replace, 3 },
    { "reverse", filter_reverse, 0 },
    { "safe", filter_safe, 0 },
    { "select", filter_select, 16 },
    { "selectattr", filter_selectattr, 16 },
    { "string", filter_string, 0 },
    { "title", filter_title, 0 },
    { "trim", filter_trim, 1 },
    { "upper", filter_upper, 0 },
  };
  for (gsize i = 0; i < G_N_ELEMENTS (filters); i++) {
    if (strcmp (filters[i].name, name) != 0)
      continue;
    if (args->n + args->n_named <= filters[i].max_args)
      return filters[i].func (run, value, args);
    chat_fail (run, VLM_ERROR_DATA,
        "the filter \"%s\" takes at most %u arguments.", name,
        filters[i].max_args);
    return chat_undefined (NULL);
  }
  chat_refuse (run, "the filter \"%.80s\"", name);
  return chat_undefined (NULL);
}
