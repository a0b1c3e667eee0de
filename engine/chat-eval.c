/* chat-eval.c - runs a parsed template
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

#define MAX_ARGS 16

/* Variables: each loop pass and each body with an end tag but "if" has its
 * own; reading looks outwards, setting stays inside. */
typedef struct Scope Scope;
struct Scope {
  Scope *outer;
  ChatMap *variables;
};

typedef struct {
  ChatRun *run;
  Scope *scope;
  GString *out;
} Evaluator;

typedef enum {
  GO_ON,
  LEAVE_LOOP,
  NEXT_PASS,
} Flow;

static ChatValue eval (Evaluator *e, const ChatNode *node);
static Flow run_all (Evaluator *e, const ChatNode *node);

static void
set_variable (Evaluator *e, ChatText *name, ChatValue value)
{
  chat_map_set (e->run, e->scope->variables, name, value);
}

static ChatValue
eval_variable (Evaluator *e, const ChatNode *node)
{
  static const char *const globals[] = {
    [CHAT_RAISE_EXCEPTION] = "raise_exception",
    [CHAT_MAKE_NAMESPACE] = "namespace",
    [CHAT_MAKE_DICT] = "dict",
    [CHAT_RANGE] = "range",
  };
  gsize length = strlen (node->name);
  for (const Scope *scope = e->scope; scope; scope = scope->outer) {
    const ChatValue *value =
        chat_map_get (e->run, scope->variables, node->name, length);
    if (value)
      return *value;
  }
  for (gsize i = 0; i < G_N_ELEMENTS (globals); i++)
    if (strcmp (globals[i], node->name) == 0)
      return chat_function (i);
  return chat_undefined (node->name);
}

/* Arguments of a call, filter or test, at most MAX_ARGS. */
static gboolean
eval_args (Evaluator *e, const ChatNode *node, ChatArgs *args,
    ChatValue *values, const char **names)
{
  *args = (ChatArgs){ .values = values, .names = names };
  for (; node && !e->run->failed; node = node->next) {
    guint i = args->n + args->n_named;
    if (i == MAX_ARGS) {
      chat_refuse (e->run, "a call with more than %d arguments", MAX_ARGS);
      return FALSE;
    }
    values[i] = eval (e, node->a);
    if (node->name)
      names[args->n_named++] = node->name;
    else
      args->n++;
  }
  return !e->run->failed;
}

static ChatValue
eval_call (Evaluator *e, const ChatNode *node)
{
  ChatValue values[MAX_ARGS], target;
  const char *names[MAX_ARGS];
  ChatArgs args;
  gboolean method = node->a->kind == CHAT_ATTRIBUTE;
  target = eval (e, method ? node->a->a : node->a);
  if (e->run->failed || !eval_args (e, node->args, &args, values, names))
    return chat_undefined (NULL);
  e->run->line = node->line;
  if (method)
    return chat_method_run (e->run, &target, node->a->name, &args);
  if (target.kind == CHAT_FUNCTION)
    return chat_function_run (e->run, target.integer, &args);
  if (target.kind == CHAT_UNDEFINED && target.name)
    chat_refuse (e->run, "the function \"%.80s\"", target.name);
  else
    chat_fail (e->run, VLM_ERROR_DATA, "%s was called like a function.",
        chat_kind_name (target.kind));
  return chat_undefined (NULL);
}

static ChatValue
eval_filter (Evaluator *e, const ChatNode *node)
{
  ChatValue values[MAX_ARGS], value = eval (e, node->a);
  const char *names[MAX_ARGS];
  ChatArgs args;
  if (e->run->failed || !eval_args (e, node->args, &args, values, names))
    return chat_undefined (NULL);
  e->run->line = node->line;
  return chat_filter_run (e->run, node->name, &value, &args);
}

static ChatValue
eval_test (Evaluator *e, const ChatNode *node)
{
  ChatValue values[MAX_ARGS], value = eval (e, node->a);
  const char *names[MAX_ARGS];
  ChatArgs args;
  if (e->run->failed || !eval_args (e, node->args, &args, values, names))
    return chat_undefined (NULL);
  e->run->line = node->line;
  return chat_boolean (chat_test_run (e->run, node->name, &value, &args));
}

/* One bound of a slice, moved into [low,high] as Python does. */
static gint64
eval_bound (Evaluator *e, const ChatNode *node, gint64 fallback, gint64 n,
    gint64 low, gint64 high)
{
  if (!node)
    return fallback;
  ChatValue value = eval (e, node);
  if (value.kind == CHAT_NONE)
    return fallback;
  if (value.kind != CHAT_INTEGER) {
    chat_fail (e->run, VLM_ERROR_DATA,
        "a slice wants whole numbers, but %s was found.",
        chat_kind_name (value.kind));
    return 0;
  }
  gint64 i = value.integer;
  if (i < 0)
    i = i < -n ? -1 : i + n;
  return CLAMP (i, low, high);
}

static gint64
eval_step (Evaluator *e, const ChatNode *node)
{
  ChatValue value = node ? eval (e, node) : chat_none ();
  if (value.kind == CHAT_NONE)
    return 1;
  if (value.kind != CHAT_INTEGER || value.integer == 0)
    chat_fail (e->run, VLM_ERROR_DATA,
        "the step of a slice is not a whole number other than zero.");
  return CLAMP (value.integer, -G_MAXINT32, G_MAXINT32);
}

static ChatValue
eval_slice (Evaluator *e, const ChatNode *node)
{
  ChatValue value = eval (e, node->a);
  gint64 step = eval_step (e, node->d);
  if (!e->run->failed && value.kind != CHAT_LIST && value.kind != CHAT_TEXT)
    chat_fail (e->run, VLM_ERROR_DATA, "%s cannot be sliced.",
        chat_kind_name (value.kind));
  const ChatList *list = e->run->failed ? NULL : chat_items (e->run, &value);
  if (!list)
    return chat_undefined (NULL);
  gint64 n = list->n, low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
  gint64 start = eval_bound (e, node->b, step < 0 ? high : low, n, low, high);
  gint64 stop = eval_bound (e, node->c, step < 0 ? low : high, n, low, high);
  gint64 span = step < 0 ? start - stop : stop - start;
  gint64 count = span > 0 ? (span + ABS (step) - 1) / ABS (step) : 0;
  ChatValue part = chat_list (e->run, count);
  if (part.kind != CHAT_LIST)
    return part;
  for (gint64 i = 0; i < count; i++)
    part.list->items[i] = list->items[start + i * step];
  if (value.kind == CHAT_LIST)
    return part;
  const ChatText nothing = { 0, "" };
  return chat_join (e->run, part.list, &nothing);
}

static ChatValue
eval_binary (Evaluator *e, const ChatNode *node)
{
  ChatValue a = eval (e, node->a);
  ChatValue b = e->run->failed ? a : eval (e, node->b);
  if (e->run->failed)
    return chat_undefined (NULL);
  e->run->line = node->line;
  return chat_combine (e->run, node->name, &a, &b);
}

static guint
count (const ChatNode *node)
{
  guint n = 0;
  for (; node; node = node->next)
    n++;
  return n;
}

static ChatValue
eval_list (Evaluator *e, const ChatNode *node)
{
  ChatValue list = chat_list (e->run, count (node->args));
  guint i = 0;
  if (list.kind == CHAT_LIST)
    for (const ChatNode *item = node->args; item && !e->run->failed;
         item = item->next)
      list.list->items[i++] = eval (e, item);
  return list;
}

static ChatValue
eval_map (Evaluator *e, const ChatNode *node)
{
  ChatValue map = chat_map (e->run);
  for (const ChatNode *item = node->args; item && !e->run->failed;
       item = item->next->next) {
    ChatValue key = eval (e, item);
    ChatValue value = eval (e, item->next);
    const ChatText *text = chat_want_text (e->run, &key, "a key of a map");
    if (text && !e->run->failed)
      chat_map_set (e->run, map.map, key.text, value);
  }
  return map;
}

static ChatValue
eval_sign (Evaluator *e, const ChatNode *node)
{
  const ChatValue zero = chat_integer (0);
  ChatValue value = eval (e, node->a);
  if (e->run->failed)
    return value;
  return chat_combine (
      e->run, node->kind == CHAT_PLUS ? "+" : "-", &zero, &value);
}

static ChatValue
eval_short_cut (Evaluator *e, const ChatNode *node)
{
  ChatValue value = eval (e, node->a);
  gboolean decided = chat_is_true (&value) == (node->kind == CHAT_OR);
  return decided || e->run->failed ? value : eval (e, node->b);
}

static ChatValue
eval_choice (Evaluator *e, const ChatNode *node)
{
  ChatValue condition = eval (e, node->b);
  if (chat_is_true (&condition))
    return eval (e, node->a);
  return node->c ? eval (e, node->c) : chat_undefined ("this value");
}

static ChatValue
eval (Evaluator *e, const ChatNode *node)
{
  ChatValue value, item;
  if (!chat_step (e->run, 0))
    return chat_undefined (NULL);
  e->run->line = node->line;
  switch (node->kind) {
  case CHAT_LITERAL:
    return node->value;
  case CHAT_VARIABLE:
    return eval_variable (e, node);
  case CHAT_ATTRIBUTE:
    value = eval (e, node->a);
    return chat_attribute (e->run, &value, node->name);
  case CHAT_ITEM:
    value = eval (e, node->a);
    item = eval (e, node->b);
    return chat_item (e->run, &value, &item);
  case CHAT_SLICE:
    return eval_slice (e, node);
  case CHAT_CALL:
    return eval_call (e, node);
  case CHAT_FILTER:
    return eval_filter (e, node);
  case CHAT_TEST:
    return eval_test (e, node);
  case CHAT_NOT:
    value = eval (e, node->a);
    return chat_boolean (!chat_is_true (&value));
  case CHAT_NEGATE:
  case CHAT_PLUS:
    return eval_sign (e, node);
  case CHAT_AND:
  case CHAT_OR:
    return eval_short_cut (e, node);
  case CHAT_IF_ELSE:
    return eval_choice (e, node);
  case CHAT_BINARY:
    return eval_binary (e, node);
  case CHAT_MAKE_LIST:
    return eval_list (e, node);
  case CHAT_MAKE_MAP:
    return eval_map (e, node);
  default:
    g_assert_not_reached ();
  }
}

static void
write_text (Evaluator *e, const ChatText *text)
{
  if (!text || !chat_step (e->run, text->length))
    return;
  if (e->out->len + text->length > CHAT_MAX_BYTES)
    chat_fail (e->run, VLM_ERROR_DATA, "more than %d bytes are written.",
        CHAT_MAX_BYTES);
  else
    g_string_append_len (e->out, text->bytes, text->length);
}

/* Runs statements with variables of their own. */
static Flow
run_scope (Evaluator *e, const ChatNode *body)
{
  ChatValue variables = chat_map (e->run);
  Scope scope = { e->scope, variables.map };
  if (e->run->failed)
    return GO_ON;
  e->scope = &scope;
  Flow flow = run_all (e, body);
  e->scope = scope.outer;
  return flow;
}

static void
assign (Evaluator *e, const ChatNode *targets, ChatValue value)
{
  if (e->run->failed)
    return;
  if (!targets->next) {
    set_variable (e, targets->value.text, value);
    return;
  }
  const ChatList *list = chat_items (e->run, &value);
  if (list && list->n != count (targets))
    chat_fail (e->run, VLM_ERROR_DATA, "%u names are set from %u values.",
        count (targets), list->n);
  for (guint i = 0; targets && !e->run->failed; targets = targets->next)
    set_variable (e, targets->value.text, list->items[i++]);
}

/* The items that pass the loop's "if". */
static const ChatList *
loop_items (Evaluator *e, const ChatNode *node)
{
  ChatValue value = eval (e, node->a);
  const ChatList *all = e->run->failed ? NULL : chat_items (e->run, &value);
  if (!all || !node->b)
    return all;
  ChatValue some = chat_list (e->run, all->n);
  ChatValue variables = chat_map (e->run);
  Scope scope = { e->scope, variables.map };
  if (e->run->failed)
    return NULL;
  some.list->n = 0;
  e->scope = &scope;
  for (guint i = 0; i < all->n && !e->run->failed; i++) {
    assign (e, node->args, all->items[i]);
    ChatValue keep = eval (e, node->b);
    if (chat_is_true (&keep))
      some.list->items[some.list->n++] = all->items[i];
  }
  e->scope = scope.outer;
  return some.list;
}

static Flow
run_for (Evaluator *e, const ChatNode *node)
{
  const ChatList *list = loop_items (e, node);
  ChatLoop *loop = chat_alloc (e->run, sizeof *loop);
  ChatValue self = { .kind = CHAT_LOOP, .loop = loop };
  ChatValue name = chat_string (e->run, "loop");
  ChatValue variables = chat_map (e->run);
  Scope scope = { e->scope, variables.map };
  if (e->run->failed)
    return GO_ON;
  if (list->n == 0)
    return run_scope (e, node->other);
  loop->list = list;
  e->scope = &scope;
  for (; loop->index < list->n && !e->run->failed; loop->index++) {
    scope.variables->n = 0;
    set_variable (e, name.text, self);
    assign (e, node->args, list->items[loop->index]);
    if (run_all (e, node->body) == LEAVE_LOOP)
      break;
  }
  e->scope = scope.outer;
  return GO_ON;
}

static Flow
run_if (Evaluator *e, const ChatNode *node)
{
  while (node && !e->run->failed) {
    e->run->line = node->line;
    ChatValue condition = eval (e, node->a);
    if (e->run->failed)
      break;
    if (chat_is_true (&condition))
      return run_all (e, node->body);
    node = node->other;
    if (node && (node->kind != CHAT_IF || node->next))
      return run_all (e, node);
  }
  return GO_ON;
}

static void
run_set_part (Evaluator *e, const ChatNode *node)
{
  ChatValue space = eval (e, node->b);
  ChatValue value = eval (e, node->a);
  if (e->run->failed)
    return;
  if (space.kind == CHAT_NAMESPACE)
    chat_map_set (e->run, space.map, node->value.text, value);
  else
    chat_fail (e->run, VLM_ERROR_DATA,
        "\"%.80s.%.80s\" is set, but \"%.80s\" is %s, not a namespace.",
        node->b->name, node->name, node->b->name, chat_kind_name (space.kind));
}

static void
run_set_body (Evaluator *e, const ChatNode *node)
{
  GString *out = e->out;
  g_autoptr (GString) text = g_string_new (NULL);
  e->out = text;
  run_scope (e, node->body);
  e->out = out;
  assign (e, node->args, chat_text (e->run, text->str, text->len));
}

static Flow
run_one (Evaluator *e, const ChatNode *node)
{
  ChatValue value;
  e->run->line = node->line;
  switch (node->kind) {
  case CHAT_WRITE_DATA:
    write_text (e, node->value.text);
    return GO_ON;
  case CHAT_WRITE:
    value = eval (e, node->a);
    if (!e->run->failed)
      write_text (e, chat_to_text (e->run, &value));
    return GO_ON;
  case CHAT_IF:
    return run_if (e, node);
  case CHAT_FOR:
    return run_for (e, node);
  case CHAT_SET:
    value = eval (e, node->a);
    assign (e, node->args, value);
    return GO_ON;
  case CHAT_SET_PART:
    run_set_part (e, node);
    return GO_ON;
  case CHAT_SET_BODY:
    run_set_body (e, node);
    return GO_ON;
  case CHAT_SCOPE:
    return run_scope (e, node->body);
  case CHAT_BREAK:
    return LEAVE_LOOP;
  case CHAT_CONTINUE:
    return NEXT_PASS;
  default:
    g_assert_not_reached ();
  }
}

static Flow
run_all (Evaluator *e, const ChatNode *node)
{
  Flow flow = GO_ON;
  for (; node && flow == GO_ON && chat_step (e->run, 0); node = node->next)
    flow = run_one (e, node);
  return flow;
}

void
chat_evaluate (
    ChatRun *run, const ChatNode *program, ChatMap *variables, GString *out)
{
  Scope scope = { NULL, variables };
  Evaluator e = { run, &scope, out };
  run_all (&e, program);
}
