/* chat-tests.c - what may follow "is"
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

typedef gboolean (*TestFunc) (
    ChatRun *run, const ChatValue *value, const ChatArgs *args);

typedef struct {
  const char *name;
  TestFunc func;
  guint n_args;
} Test;

static gboolean
test_defined (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind != CHAT_UNDEFINED;
}

static gboolean
test_undefined (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_UNDEFINED;
}

static gboolean
test_none (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_NONE;
}

static gboolean
test_boolean (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_BOOLEAN;
}

static gboolean
test_true (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_BOOLEAN && value->integer;
}

static gboolean
test_false (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_BOOLEAN && !value->integer;
}

static gboolean
test_integer (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_INTEGER;
}

static gboolean
test_number (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_INTEGER || value->kind == CHAT_BOOLEAN;
}

static gboolean
test_string (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_TEXT;
}

static gboolean
test_mapping (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_MAP;
}

static gboolean
test_iterable (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_TEXT || value->kind == CHAT_LIST ||
         value->kind == CHAT_MAP || value->kind == CHAT_UNDEFINED;
}

static gboolean
test_sequence (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return test_iterable (run, value, args);
}

static gboolean
test_callable (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return value->kind == CHAT_FUNCTION;
}

static gint64
want_integer (ChatRun *run, const ChatValue *value)
{
  if (value && (value->kind == CHAT_INTEGER || value->kind == CHAT_BOOLEAN))
    return value->integer;
  chat_fail (run, VLM_ERROR_DATA, "a whole number was expected.");
  return 1;
}

static gboolean
test_odd (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return want_integer (run, value) % 2 != 0;
}

static gboolean
test_even (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return want_integer (run, value) % 2 == 0;
}

static gboolean
test_divisibleby (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  gint64 by = want_integer (run, &args->values[0]);
  gint64 number = want_integer (run, value);
  if (by == 0)
    chat_fail (run, VLM_ERROR_DATA, "a number is divided by zero.");
  return by == -1 || (by && number % by == 0);
}

static gboolean
test_equal (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_equal (run, value, &args->values[0]);
}

static gboolean
test_unequal (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return !chat_equal (run, value, &args->values[0]);
}

static gboolean
test_less (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_compare (run, value, &args->values[0]) < 0;
}

static gboolean
test_greater (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_compare (run, value, &args->values[0]) > 0;
}

static gboolean
test_in (ChatRun *run, const ChatValue *value, const ChatArgs *args)
{
  return chat_contains (run, &args->values[0], value);
}

gboolean
chat_test_run (ChatRun *run, const char *name, const ChatValue *value,
    const ChatArgs *args)
{
  static const Test tests[] = {
    { "boolean", test_boolean, 0 },
    { "callable", test_callable, 0 },
    { "defined", test_defined, 0 },
    { "divisibleby", test_divisibleby, 1 },
    { "eq", test_equal, 1 },
    { "equalto", test_equal, 1 },
    { "==", test_equal, 1 },
    { "even", test_even, 0 },
    { "false", test_false, 0 },
    { "greaterthan", test_greater, 1 },
    { "gt", test_greater, 1 },
    { "in", test_in, 1 },
    { "integer", test_integer, 0 },
    { "iterable", test_iterable, 0 },
    { "lessthan", test_less, 1 },
    { "lt", test_less, 1 },
    { "mapping", test_mapping, 0 },
    { "ne", test_unequal, 1 },
    { "!=", test_unequal, 1 },
    { "none", test_none, 0 },
    { "number", test_number, 0 },
    { "odd", test_odd, 0 },
    { "sequence", test_sequence, 0 },
    { "string", test_string, 0 },
    { "true", test_true, 0 },
    { "undefined", test_undefined, 0 },
  };
  for (gsize i = 0; i < G_N_ELEMENTS (tests); i++) {
    if (strcmp (tests[i].name, name) != 0)
      continue;
    if (args->n == tests[i].n_args && !args->n_named)
      return tests[i].func (run, value, args);
    chat_fail (run, VLM_ERROR_DATA, "the test \"%s\" takes %u arguments.", name,
        tests[i].n_args);
    return FALSE;
  }
  chat_refuse (run, "the test \"%.80s\"", name);
  return FALSE;
}
