/* chat-methods.c - methods of texts and maps, and the global functions
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

typedef ChatValue (*Method) (
    ChatRun *run, const ChatValue *value, const ChatArgs *args);

typedef struct {
  const char *name;
  Method func;
  guint min_args, max_args;
} MethodEntry;

static ChatValue
text_upper (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_change_case (run, value->text, CHAT_UPPER);
}

static ChatValue
text_lower (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_change_case (run, value->text, CHAT_LOWER);
}

static ChatValue
text_title (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_change_case (run, value->text, CHAT_TITLE_METHOD);
}

static ChatValue
text_capitalize (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_change_case (run, value->text, CHAT_CAPITALIZE);
}

static ChatValue
text_strip (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_strip (run, value->text, chat_arg (args, 0, NULL), TRUE, TRUE);
}

static ChatValue
text_lstrip (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_strip (run, value->text, chat_arg (args, 0, NULL), TRUE, FALSE);
}

static ChatValue
text_rstrip (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_strip (run, value->text, chat_arg (args, 0, NULL), FALSE, TRUE);
}

static ChatValue
text_replace (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatText *from = chat_want_text (run, &args->values[0], "\"replace\"");
  const ChatText *to =
      run->failed ? NULL
                  : chat_want_text (run, &args->values[1], "\"replace\"");
  const ChatValue *limit = chat_arg (args, 2, "count");
  if (!from || !to)
    return chat_undefined (NULL);
  return chat_replace (run, value->text, from, to,
      limit && limit->kind == CHAT_INTEGER ? limit->integer : -1);
}

/* startswith and endswith: a text, or any of a list of them. */
static ChatValue
has_edge (
    ChatRun *run, const ChatValue *value, const ChatArgs *args, gboolean end)
{
  ChatValue one = args->values[0];
  const ChatList single = { 1, &one };
  const ChatList *list = one.kind == CHAT_LIST ? one.list : &single;
  for (guint i = 0; i < list->n && chat_step (run, 0); i++) {
    const ChatText *edge =
        chat_want_text (run, &list->items[i], "\"startswith\"");
    if (!edge || !chat_step (run, edge->length) ||
        edge->length > value->text->length)
      continue;
    const char *at = value->text->bytes;
    if (end)
      at += value->text->length - edge->length;
    if (memcmp (at, edge->bytes, edge->length) == 0)
      return chat_boolean (TRUE);
  }
  return chat_boolean (FALSE);
}

static ChatValue
text_startswith (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return has_edge (run, value, args, FALSE);
}

static ChatValue
text_endswith (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return has_edge (run, value, args, TRUE);
}

/* Parts between `between`, at most `limit` cuts (below 0: all). */
static ChatValue
split_at (
    ChatRun *run, const ChatText *text, const ChatText *between, gint64 limit)
{
  gssize at;
  guint n = 1;
  gsize from = 0;
  for (gint64 i = limit; i != 0; i--, n++) {
    if ((at = chat_find (run, text, from, between)) < 0)
      break;
    from = at + between->length;
  }
  ChatValue list = chat_list (run, n);
  from = 0;
  for (guint i = 0; i < n && !run->failed; i++) {
    at = i + 1 < n ? chat_find (run, text, from, between) : -1;
    gsize stop = at < 0 ? text->length : (gsize) at;
    list.list->items[i] = chat_text (run, text->bytes + from, stop - from);
    from = stop + between->length;
  }
  return list;
}

/* Words between white space, at most `limit` cuts (below 0: all). */
static ChatValue
split_words (ChatRun *run, const ChatText *text, gint64 limit)
{
  const char *end = text->bytes + text->length;
  ChatValue list = chat_list (run, text->length / 2 + 1);
  const char *p = text->bytes, *stop;
  if (list.kind != CHAT_LIST)
    return list;
  list.list->n = 0;
  while (!run->failed) {
    while (p < end && chat_is_space (g_utf8_get_char (p)))
      p = g_utf8_next_char (p);
    if (p == end)
      break;
    for (stop = p; stop < end && !chat_is_space (g_utf8_get_char (stop));)
      stop = g_utf8_next_char (stop);
    if (limit >= 0 && list.list->n == limit)
      stop = end;
    list.list->items[list.list->n++] = chat_text (run, p, stop - p);
    p = stop;
  }
  return list;
}

static ChatValue
text_split (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *between = chat_arg (args, 0, "sep");
  const ChatValue *most = chat_arg (args, 1, "maxsplit");
  gint64 limit = most && most->kind == CHAT_INTEGER ? most->integer : -1;
  if (!between || between->kind == CHAT_NONE)
    return split_words (run, value->text, limit);
  const ChatText *text = chat_want_text (run, between, "\"split\"");
  if (text && text->length == 0)
    chat_fail (run, VLM_ERROR_DATA, "\"split\" wants a text to split at.");
  return run->failed ? chat_undefined (NULL)
                     : split_at (run, value->text, text, limit);
}

static ChatValue
text_join (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatList *list = chat_items (run, &args->values[0]);
  for (guint i = 0; list && i < list->n && !run->failed; i++)
    chat_want_text (run, &list->items[i], "\"join\"");
  return run->failed ? chat_undefined (NULL)
                     : chat_join (run, list, value->text);
}

static ChatValue
text_find (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatText *part = chat_want_text (run, &args->values[0], "\"find\"");
  gssize at = part ? chat_find (run, value->text, 0, part) : -1;
  return chat_integer (at < 0 ? -1
                              : g_utf8_pointer_to_offset (value->text->bytes,
                                    value->text->bytes + at));
}

static ChatValue
map_get (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  const ChatValue *key = &args->values[0], *found = NULL;
  if (key->kind == CHAT_TEXT)
    found = chat_map_get (run, value->map, key->text->bytes, key->text->length);
  if (found)
    return *found;
  return args->n > 1 ? args->values[1] : chat_none ();
}

static ChatValue
map_keys (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  ChatList *list = chat_items (run, value);
  if (!list)
    return chat_undefined (NULL);
  return (ChatValue){ .kind = CHAT_LIST, .list = list };
}

static ChatValue
map_values (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  ChatValue list = chat_list (run, value->map->n);
  for (guint i = 0; i < value->map->n && !run->failed; i++)
    list.list->items[i] = value->map->pairs[i].value;
  return list;
}

static ChatValue
map_items (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  ChatValue list = chat_list (run, value->map->n);
  for (guint i = 0; i < value->map->n && !run->failed; i++) {
    const ChatPair *pair = &value->map->pairs[i];
    ChatValue two = chat_list (run, 2);
    if (run->failed)
      break;
    two.list->items[0] = (ChatValue){ .kind = CHAT_TEXT, .text = pair->key };
    two.list->items[1] = pair->value;
    list.list->items[i] = two;
  }
  return list;
}

static const MethodEntry text_methods[] = {
  { "capitalize", text_capitalize, 0, 0 },
  { "endswith", text_endswith, 1, 1 },
  { "find", text_find, 1, 1 },
  { "join", text_join, 1, 1 },
  { "lower", text_lower, 0, 0 },
  { "lstrip", text_lstrip, 0, 1 },
  { "replace", text_replace, 2, 3 },
  { "rstrip", text_rstrip, 0, 1 },
  { "split", text_split, 0, 2 },
  { "startswith", text_startswith, 1, 1 },
  { "strip", text_strip, 0, 1 },
  { "title", text_title, 0, 0 },
  { "upper", text_upper, 0, 0 },
  { NULL },
};

static const MethodEntry map_methods[] = {
  { "get", map_get, 1, 2 },
  { "items", map_items, 0, 0 },
  { "keys", map_keys, 0, 0 },
  { "values", map_values, 0, 0 },
  { NULL },
};

ChatValue
chat_method_run (ChatRun *run, const ChatValue *value, const char *name,
    const ChatArgs *args)
{
  const MethodEntry *method = NULL;
  if (value->kind == CHAT_TEXT)
    method = text_methods;
  else if (value->kind == CHAT_MAP)
    method = map_methods;
  while (method && method->name && strcmp (method->name, name) != 0)
    method++;
  if (value->kind == CHAT_UNDEFINED) {
    chat_fail (run, VLM_ERROR_DATA, "\"%.80s\" is undefined.",
        value->name ? value->name : "this value");
  } else if (!method || !method->name) {
    chat_refuse (
        run, "the method \"%.80s\" of %s", name, chat_kind_name (value->kind));
  } else if (args->n < method->min_args ||
             args->n + args->n_named > method->max_args) {
    chat_fail (run, VLM_ERROR_DATA,
        "the method \"%s\" takes from %u to %u arguments.", name,
        method->min_args, method->max_args);
  } else {
    return method->func (run, value, args);
  }
  return chat_undefined (NULL);
}

/* namespace(a=1), dict(a=1), each also over a map. */
static ChatValue
make_map (ChatRun *run, const ChatArgs *args, ChatKind kind)
{
  ChatValue map = chat_map (run);
  if (args->n > 1 || (args->n == 1 && args->values[0].kind != CHAT_MAP))
    chat_refuse (run, "a map from anything but a map and names");
  if (run->failed)
    return chat_undefined (NULL);
  if (args->n == 1) {
    const ChatMap *from = args->values[0].map;
    for (guint i = 0; i < from->n && !run->failed; i++)
      chat_map_set (run, map.map, from->pairs[i].key, from->pairs[i].value);
  }
  for (guint i = 0; i < args->n_named && !run->failed; i++) {
    ChatValue key = chat_string (run, args->names[i]);
    if (key.kind == CHAT_TEXT)
      chat_map_set (run, map.map, key.text, args->values[args->n + i]);
  }
  map.kind = kind;
  return map;
}

static ChatValue
make_range (ChatRun *run, const ChatArgs *args)
{
  gint64 bounds[3] = { 0, 0, 1 };
  gboolean fine = args->n >= 1 && args->n <= 3 && !args->n_named;
  for (guint i = 0; fine && i < args->n; i++) {
    fine = args->values[i].kind == CHAT_INTEGER &&
           ABS (args->values[i].integer) <= G_MAXINT32;
    bounds[args->n == 1 ? 1 : i] = args->values[i].integer;
  }
  if (!fine || bounds[2] == 0) {
    chat_fail (run, VLM_ERROR_DATA,
        "\"range\" wants one to three whole numbers, the step not zero.");
    return chat_undefined (NULL);
  }
  gint64 step = bounds[2];
  gint64 span = step > 0 ? bounds[1] - bounds[0] : bounds[0] - bounds[1];
  gint64 n = span > 0 ? (span + ABS (step) - 1) / ABS (step) : 0;
  ChatValue list = chat_list (run, MIN (n, G_MAXINT32));
  for (gint64 i = 0; i < n && !run->failed; i++)
    list.list->items[i] = chat_integer (bounds[0] + i * step);
  return list;
}

ChatValue
chat_function_run (ChatRun *run, ChatFunction function, const ChatArgs *args)
{
  const ChatText *words;
  switch (function) {
  case CHAT_MAKE_NAMESPACE:
    return make_map (run, args, CHAT_NAMESPACE);
  case CHAT_MAKE_DICT:
    return make_map (run, args, CHAT_MAP);
  case CHAT_RANGE:
    return make_range (run, args);
  case CHAT_RAISE_EXCEPTION:
    words = args->n ? chat_to_text (run, &args->values[0]) : NULL;
    chat_fail (run, VLM_ERROR_REQUEST, "%s",
        words ? words->bytes : vlm_text ("the template gives up."));
  }
  return chat_undefined (NULL);
}
